"""`Scoring`: the service and the settings that a worker in another process needs to score rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen

import eas_tw
from eas_tw import ClientConfig, ConfigError
from eas_tw.bulk.options import JobOptions
from eas_tw.display import shown
from eas_tw.dotted_names import load_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.blocking import PredictClient

_FORMS = '"env:NAME", "file:PATH", a name such as "package.module:function", or a function'


def _token_source(_: Any, __: Attribute[Any], value: Any) -> None:
    if callable(value) or value == "":
        return
    kind, colon, what = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and kind and what):
        # The message does not contain the value, because it may be the token itself, by mistake.
        raise ConfigError(f"token_source must be {_FORMS}, or empty for no token; the token itself is not pickled")


def _text(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{attribute.name} must be a text that is not empty, got {shown(value)}")


def _client_config(_: Any, __: Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, ClientConfig):
        raise ConfigError(f"config must be a ClientConfig or None, got {shown(value)}")


@frozen
class Scoring(JobOptions):
    """A service and the settings of a job, as a value that can be pickled and sent to other processes.

    It also has the attributes of `JobOptions`. The token is not included: each process reads it from `token_source`.

    Attributes:
        endpoint: The endpoint, as for `eas_tw.PredictClient`.
        service: `service` or `group/service`.
        endpoint_type: One of the constants `ENDPOINT_TYPE_…`.
        token_source: The source of the token: `env:NAME` for an environment variable (no token if it is not set),
            `file:PATH` for the text of a file, a function without arguments, or the function's name; empty for no
            token.
        config: The settings of the client; `None` for the defaults.

    Raises:
        ConfigError: A value is wrong.
    """

    endpoint: str = field(validator=_text)
    service: str = field(validator=_text)
    endpoint_type: str = field(default=eas_tw.ENDPOINT_TYPE_DIRECT, kw_only=True)
    token_source: str | Callable[[], str] = field(
        default="env:EAS_TOKEN", validator=_token_source, kw_only=True, repr=False
    )
    config: ClientConfig | None = field(default=None, validator=_client_config, kw_only=True)

    def token(self) -> str:
        """Read the token.

        Raises:
            ConfigError: The file cannot be read or is empty, or the function cannot be imported.
        """
        if not isinstance(self.token_source, str):
            return self.token_source()
        kind, _, what = self.token_source.partition(":")
        if kind == "env":
            return os.environ.get(what, "")
        if kind == "file":
            return _token_of_file(Path(what).expanduser())
        return str(load_function("token_source", self.token_source)()) if what else ""

    def make_client(self) -> PredictClient:
        """Make a blocking client of the service; the caller must close it.

        Raises:
            PredictException: A setting is wrong.
            ConfigError: The token cannot be read.
        """
        from eas_tw.blocking import PredictClient  # noqa: PLC0415  only the worker needs it

        return PredictClient(
            self.endpoint,
            self.service,
            token=self.token(),
            endpoint_type=self.endpoint_type,
            config=self.config,
        )


def _token_of_file(file: Path) -> str:
    try:
        token = file.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"token_source: the file {file} cannot be read: {why}") from None
    if not token:
        raise ConfigError(f"token_source: the file {file} is empty")
    return token
