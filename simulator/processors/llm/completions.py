"""`POST /v1/completions`: answers one or several prompts with text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.processors.llm.answers import (
    answer_events,
    answer_whole,
    check_one,
    common_fields,
    total_usage,
    wants_usage,
    with_usage,
)
from simulator.processors.llm.errors import LlmError
from simulator.processors.llm.generation import Generation, Limits, generate, rng_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.processors.llm.answers import Event
    from simulator.processors.llm.processor import Llm
    from simulator.processors.requests import ProcessorRequest

MAX_INPUTS = 2048


def respond(llm: Llm, request: ProcessorRequest) -> Any:
    """Answer one or several prompts; several are answered in sequence."""
    body = llm.read(request)
    check_one(body)
    include_usage = wants_usage(body)
    limits = Limits.read(body)
    prompts = read_texts(body, "prompt")
    made = [generate(llm, request, prompt, limits, rng_for(request, body["model"], prompt, body)) for prompt in prompts]
    before = [prompt if body.get("echo") is True else "" for prompt in prompts]
    head = common_fields(request, "cmpl", "text_completion", body["model"])
    usage = total_usage([one.usage() for one in made])
    if body.get("stream"):
        return answer_events(
            with_usage(head, _events(head, made, before), usage if include_usage else None), head["id"]
        )
    choices = [_choice(at, before[at] + one.text, one.finish_reason) for at, one in enumerate(made)]
    return answer_whole({**head, "choices": choices, "usage": usage}, sum(one.total_s for one in made))


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def _events(head: dict[str, Any], made: Sequence[Generation], before: Sequence[str]) -> Iterator[Event]:
    for index, one in enumerate(made):
        pause_s = one.first_s
        for piece in [*([before[index]] if before[index] else []), *one.pieces]:
            yield pause_s, {**head, "choices": [_choice(index, piece, None)]}
            pause_s = one.gap_s
        yield 0.0, {**head, "choices": [_choice(index, "", one.finish_reason)]}


def read_texts(body: dict[str, Any], name: str) -> list[str]:
    """Read a parameter that is a text, a list of texts, or tokens.

    Raises:
        LlmError: The parameter is none of these.
    """
    given = body.get(name)
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and 0 < len(given) <= MAX_INPUTS:
        if all(isinstance(one, str) for one in given):
            return given
        if all(isinstance(one, int) for one in given):
            return [" ".join(map(str, given))]
        if all(isinstance(one, list) and all(isinstance(token, int) for token in one) for one in given):
            return [" ".join(map(str, one)) for one in given]
    raise LlmError(f"{name!r} must be a string, a list of 1 to {MAX_INPUTS} strings, or tokens", param=name)
