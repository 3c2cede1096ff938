"""Recordings of real traffic: requests and responses, written as stubs to a TOML file.

Each pair is appended as soon as it is complete, so that a killed recorder loses no complete pair. Request headers are
not written, and the service's token is masked in all other texts and bodies.
"""

from __future__ import annotations

import base64
import tomllib
from typing import TYPE_CHECKING

from simulator.stubs import Stub, StubError, read_stubs

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.fleet import Service
    from simulator.masking import TokenMask
    from simulator.messages import ReceivedRequest, Response

_HEADER = """\
# Requests to a service with its responses. Replay: python -m simulator serve --replay FILE,
# or @pytest.mark.eas_service(replay="FILE"). Paths are below the service's own.
"""
_NOT_KEPT = frozenset(
    {"date", "server", "connection", "keep-alive", "content-length", "transfer-encoding", "set-cookie"}
)
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in map(chr, [*range(32), 127])} | {
    ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t",
}  # fmt: skip


class Recorder:
    """Appends requests and responses to a file.

    Args:
        path: Path of the file; it must not exist, so that no recording is overwritten.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("x", encoding="utf-8") as file:
            file.write(_HEADER)

    def record(self, service: Service, request: ReceivedRequest, response: Response) -> None:
        """Append one request and its response."""
        mask = service.world.mask
        lines = ["", "[[stub]]", "[stub.request]", f"method = {_quoted(mask(request.method))}"]
        lines.append(f"path = {_quoted(mask(service.below(request.path)))}")
        lines += _body(request.body, mask)
        lines += ["[[stub.responses]]", f"status = {response.status}"]
        if response.content_type:
            lines.append(f"content_type = {_quoted(mask(response.content_type))}")
        kept = {name: value for name, value in response.headers.items() if name.lower() not in _NOT_KEPT}
        if kept:
            pairs = ", ".join(f"{_quoted(name)} = {_quoted(value)}" for name, value in mask.value(kept).items())
            lines.append(f"headers = {{ {pairs} }}")
        lines += _body(response.body, mask)
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def read_recording(path: Path) -> list[Stub]:
    """Read the stubs of a recording.

    Raises:
        StubError: The file cannot be read, or is invalid; the text begins with the file's name.
    """
    try:
        return read_stubs(tomllib.loads(path.read_text("utf-8-sig")))
    except OSError as error:
        raise StubError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise StubError(f"{path}: it is not text in UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # a `StubError` is a ValueError, too
        raise StubError(f"{path}: {error}") from None


def _body(body: bytes, mask: TokenMask) -> list[str]:
    try:
        return [f"body = {_quoted(mask(body.decode('utf-8')))}"] if body else []
    except UnicodeDecodeError:
        return [f"body_base64 = {_quoted(base64.b64encode(mask.in_bytes(body)).decode())}"]


def _quoted(text: str) -> str:
    """Format a text as a basic string of TOML."""
    quoted = text.encode("utf-8", "replace").decode().translate(_ESCAPES)
    return f'"{quoted}"'
