"""Recorded requests of the official clients, and the responses of the server that they were recorded with.

A line `[n] < METHOD TARGET` begins a request on connection `n`, followed by its header lines and its body. Host,
User-Agent and Accept-Encoding are omitted. `[n] > STATUS {headers} body` is the response. `ws` lines are WebSocket
frames.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from attrs import define, field

_HERE = Path(__file__).parent
_REQUEST = re.compile(r"\[(\d+)\] < ([A-Z]+) (\S+)$")
_HEADER = re.compile(r"\[\d+\] <   ([A-Za-z0-9-]+): (.*)$")
_BODY = re.compile(r"\[\d+\] <   body (.*)$")
_RESPONSE = re.compile(r"\[(\d+)\] > (\d+)(?: (\{.*?\}) (b['\"].*))?$")
_MESSAGE = re.compile(r"\[\d+\] > ws opcode 2 (.*)$")


@define
class Recorded:
    """A request with its response, and the frames that a watch received."""

    connection: str
    method: str
    target: str
    headers: list[tuple[str, str]] = field(factory=list)
    body: bytes = b""
    status: int = 0
    response_headers: dict[str, str] = field(factory=dict)
    response: bytes = b""


def requests_of(sdk: str) -> list[Recorded]:
    """Return the recorded requests of an SDK (`python`, `go` or `java`)."""
    found: list[Recorded] = []
    for line in (_HERE / f"{sdk}.txt").read_text().splitlines():
        if match := _REQUEST.match(line):
            found.append(Recorded(*match.groups()))
        elif match := _HEADER.match(line):
            found[-1].headers.append((match[1], match[2]))
        elif match := _BODY.match(line):
            found[-1].body = ast.literal_eval(match[1])
        elif match := _RESPONSE.match(line):
            (*_, asked) = [one for one in found if one.connection == match[1] and not one.status]
            asked.status = int(match[2])
            if match[3]:
                asked.response_headers, asked.response = ast.literal_eval(match[3]), ast.literal_eval(match[4])
    return found


def messages_of(sdk: str) -> list[bytes]:
    """Return the binary WebSocket messages that the server sent to an SDK."""
    lines = (_HERE / f"{sdk}.txt").read_text().splitlines()
    return [ast.literal_eval(match[1]) for line in lines if (match := _MESSAGE.match(line))]
