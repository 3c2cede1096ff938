"""The processor `llm`: its settings, and the routing of paths to handlers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Self

from attrs import field, fields, frozen

from simulator.durations import Duration, DurationError
from simulator.messages import Response
from simulator.processors.llm import chat, completions, embeddings
from simulator.processors.llm.errors import LlmError
from simulator.processors.requests import ProcessorRequest, RequestProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

ANY_MODEL = "*"
DEFAULT_MODEL = "llm"
MAX_TOKENS = 10_000_000
_SEPARATOR = re.compile(r",(?=[a-z_]+=)")


def _distribution(given: Any) -> Duration:
    """Parse a distribution of any unit, in a form that `Duration.parse` accepts, with numbers from 0 to 3600."""
    return Duration.parse(given)


def _models(given: Any) -> tuple[str, ...]:
    return tuple(given.split("|")) if isinstance(given, str) else tuple(given)


def _whole(given: Any) -> int:
    return int(given)


def _check_number(_: Any, attribute: Any, value: Any) -> None:
    if not 0 <= value <= MAX_TOKENS:
        raise ValueError(f"{attribute.name} must be a number from 0 to {MAX_TOKENS}, got {value!r}")


def _check_models(_: Any, __: Any, value: tuple[str, ...]) -> None:
    if not value or not all(isinstance(name, str) and name for name in value):
        raise ValueError("models must be names with | between them, or *")


@frozen
class Llm(RequestProcessor):
    """The processor `llm`; `llm:ttft=0.1,tokens_per_s=uniform:30,80` sets its attributes.

    Attributes:
        ttft: Seconds until the first token of a completely cached prompt, as a `Duration`.
        tokens_per_s: Tokens per second, drawn for each answer; a distribution like a `Duration`. 0 for no pauses.
        prefill_tokens_per_s: Speed at which uncached tokens of the prompt are computed; 0 for no delay.
        tokens: Tokens of an answer, drawn for each prompt; a distribution like a `Duration`.
        models: Names of the models; `*` accepts any name.
        cache_tokens: Tokens in the prefix cache of an instance; 0 for none.
        context_tokens: Maximum number of tokens of prompt and answer together.
    """

    ttft: Duration = field(default=Duration("lognormal", (0.05, 0.1)), converter=_distribution)
    tokens_per_s: Duration = field(default=Duration("constant", (50.0,)), converter=_distribution)
    prefill_tokens_per_s: float = field(default=10_000, converter=float, validator=_check_number)
    tokens: Duration = field(default=Duration("uniform", (16.0, 64.0)), converter=_distribution)
    models: tuple[str, ...] = field(default=(DEFAULT_MODEL,), converter=_models, validator=_check_models)
    cache_tokens: int = field(default=65_536, converter=_whole, validator=_check_number)
    context_tokens: int = field(default=32_768, converter=_whole, validator=_check_number)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the settings `NAME=VALUE,NAME=VALUE`.

        Raises:
            ValueError: A setting is unknown or invalid.
        """
        known = [attribute.name for attribute in fields(cls)]
        given: dict[str, Any] = {}
        for part in _SEPARATOR.split(text):
            name, equals, value = part.partition("=")
            if not equals or name not in known:
                raise ValueError(f"expected NAME=VALUE with one of {', '.join(known)}, got {part!r}")
            try:
                cls(**{**given, name: value})
            except DurationError:
                raise ValueError(f"{name}: expected a number or such as uniform:20,60, got {value!r}") from None
            given[name] = value
        return cls(**given)

    def answer(self, request: ProcessorRequest) -> Any:
        """Answer a request to OpenAI's API (`RequestProcessor`)."""
        try:
            return self._answer(request)
        except LlmError as error:
            return error.response()

    def _answer(self, request: ProcessorRequest) -> Any:
        path = request.path.rstrip("/")
        if path.startswith(f"{_MODELS}/"):
            _check_method(request, "GET")
            return _json(self._model(path.removeprefix(f"{_MODELS}/")))
        if path not in _PATHS:
            raise LlmError(f"Invalid URL ({request.method} {path[:200] or '/'})", 404)
        method, respond = _PATHS[path]
        _check_method(request, method)
        return respond(self, request)

    def _model(self, name: str) -> dict[str, Any]:
        if name not in self.models and ANY_MODEL not in self.models:
            raise LlmError(
                f"The model {name[:100]!r} does not exist; there is {', '.join(self.models)}",
                404,
                param="model",
                code="model_not_found",
            )
        return {"id": name, "object": "model", "created": 0, "owned_by": "eas-simulator"}

    def list_models(self, _: ProcessorRequest) -> Response:
        """Answer `GET /v1/models`."""
        named = [name for name in self.models if name != ANY_MODEL] or [DEFAULT_MODEL]
        return _json({"object": "list", "data": [self._model(name) for name in named]})

    def read(self, request: ProcessorRequest) -> dict[str, Any]:
        """Read the body of a request that names a model.

        Raises:
            LlmError: The body is not a JSON object, or names an unknown model.
        """
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            raise LlmError("We could not parse the JSON body of your request.") from None
        if not isinstance(body, dict):
            raise LlmError("The JSON body of a request must be an object.")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise LlmError("you must provide a model parameter", param="model")
        self._model(model)
        return body


def _check_method(request: ProcessorRequest, allowed: str) -> None:
    if request.method != allowed and not (request.method == "HEAD" and allowed == "GET"):
        raise LlmError(
            f"Not allowed to {request.method} on {request.path[:200]}; {allowed} is",
            405,
            code="method_not_supported",
            headers={"Allow": allowed},
        )


def _json(value: Any) -> Response:
    return Response(200, json.dumps(value).encode(), "application/json")


_MODELS = "/v1/models"
_PATHS: dict[str, tuple[str, Callable[[Llm, ProcessorRequest], Any]]] = {
    _MODELS: ("GET", Llm.list_models),
    "/v1/chat/completions": ("POST", chat.respond),
    "/v1/completions": ("POST", completions.respond),
    "/v1/embeddings": ("POST", embeddings.respond),
    "/health": ("GET", lambda _, __: Response(200, b"", "")),
}
