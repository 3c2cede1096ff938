"""Rewriting of discovery replies and responses when they are sent, for faults that the simulator does not have.

Discovery replies get rows in another order, repeated rows with other weights, unreasonable values, or a status other
than 200. Responses of instances lose their Content-Length, so that they end with the connection.
"""

from __future__ import annotations

import json
from copy import copy
from typing import TYPE_CHECKING, Any

from simulator.delivery import Ending, Wire
from simulator.http1 import render
from simulator.messages import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from simulator.messages import Answer
    from simulator.virtual.network.sockets import Address

    Rewrite = Callable[[Response, Mapping[str, Any], Random], Response]

_OK = 200
_LONG = 5000
_RAW = "raw-number-"
ODD_ROWS: tuple[Mapping[str, Any], ...] = (
    {"ip": "10.9.0.1", "port": 80, "weight": f"{_RAW}{'9' * _LONG}"},
    {"ip": "10.9.0.2", "port": f"{_RAW}{'9' * _LONG}", "weight": 1},
    {"ip": "10.9.0.3", "port": 80, "weight": f"{_RAW}NaN"},
    {"ip": "10.9.0.4", "port": 80, "weight": f"{_RAW}Infinity"},
    {"ip": "10.9.0.5", "port": 80, "weight": f"{_RAW}1e400"},
    {"ip": "10.9.0.6", "port": 70_000, "weight": 1},
    {"ip": "10.9.0.7", "port": 80, "weight": True},
    {"ip": "10.9.0.8\r\nX-Evil: 1", "port": 80, "weight": 1},
    {"ip": ["10.9.0.9"], "port": 80, "weight": 1},
    {"ip": "10.9.0.10", "port": 80, "weight": {"of": 1}},
    {"ip": "\ud800", "port": 80, "weight": 1},
    {"ip": "x" * _LONG, "port": 80, "weight": 1},
)
"""Invalid rows, which are inserted between valid ones."""
_BAD_ROWS: tuple[Any, ...] = (
    {"ip": "10.9.1.1", "port": 0, "weight": 1},
    {"ip": "a b", "port": 80, "weight": 1},
    {"ip": "10.9.1.2", "port": 80, "weight": -1},
    {},
    7,
    [],
)


class Rewriting:
    """The active faults that change messages.

    Args:
        rng: Source of random draws.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lists: list[tuple[str, Mapping[str, Any]]] = []
        self._answers: dict[Address, list[Mapping[str, Any]]] = {}

    def begin_list(self, kind: str, with_: Mapping[str, Any]) -> Callable[[], None]:
        """Start to change discovery replies; return the function that ends the fault."""
        entry = (kind, with_)
        self._lists.append(entry)
        return lambda: self._lists.remove(entry)

    def begin_answers(self, address: Address, with_: Mapping[str, Any]) -> Callable[[], None]:
        """Start to change the responses of an instance; return the function that ends the fault."""
        self._answers.setdefault(address, []).append(with_)
        return lambda: self._answers[address].remove(with_)

    def reply(self, answer: Answer) -> Answer:
        """Return the discovery reply to send instead of `answer`."""
        for kind, with_ in self._lists:
            if isinstance(answer, Response) and answer.status == _OK and self._rng.random() < with_["probability"]:
                answer = _LISTS[kind](answer, with_, self._rng)
        return answer

    def answer(self, address: Address, answer: Answer) -> Answer:
        """Return the response to send instead of `answer`."""
        for with_ in self._answers.get(address, ()):
            if isinstance(answer, Response) and answer.status == _OK and self._rng.random() < with_["probability"]:
                return _without_length(answer, is_reset=with_["reset"])
        return answer


def _without_length(answer: Response, *, is_reset: bool) -> Wire:
    """Remove the Content-Length; send the whole body and a FIN, or with `is_reset` a part of the body and an RST."""
    whole = render(answer, keep=False).replace(b"Content-Length: %d\r\n" % len(answer.body), b"", 1)
    sent = whole[: len(whole) - max(1, len(answer.body) // 2)] if is_reset else whole
    return Wire([(0.0, sent)], Ending.RESET if is_reset else Ending.CLOSE, 0.001)


def _has_weight(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("weight"), int | float) and row["weight"] > 0


def _rows(answer: Response, change: Callable[[list[Any]], list[Any]]) -> Response:
    """Replace the rows of a reply.

    Numbers that `json.dumps` cannot write are inserted into the text afterwards.
    """
    # An earlier rewrite may have inserted a number with more digits than Python's `int` accepts.
    try:
        document = json.loads(answer.body, parse_int=lambda text: int(text) if len(text) < _LONG else _RAW + text)
        rows = document["endpoints"]["items"]
    except (ValueError, KeyError, TypeError):
        # Another fault has replaced the list with garbage.
        return answer
    if not isinstance(rows, list):
        return answer
    document["endpoints"]["items"] = change(rows)
    text = json.dumps(document)
    for row in ODD_ROWS:
        for value in row.values():
            if isinstance(value, str) and value.startswith(_RAW):
                text = text.replace(json.dumps(value), value.removeprefix(_RAW))
    return answer._replace(body=text.encode())


def _copies(answer: Response, with_: Mapping[str, Any], rng: Random) -> Response:
    def change(rows: list[Any]) -> list[Any]:
        copies = [
            {**row, "weight": row["weight"] + rng.choice((0, 0, 1, 7))} if _has_weight(row) else row
            for row in rows
            for _ in range(with_["copies"])
        ]
        rng.shuffle(copies)
        return copies

    return _rows(answer, change)


def _odd(answer: Response, _: Mapping[str, Any], rng: Random) -> Response:
    def change(rows: list[Any]) -> list[Any]:
        mixed = [*rows, *rng.sample(ODD_ROWS, 4)]
        rng.shuffle(mixed)
        return mixed

    return _rows(answer, change)


def _many(answer: Response, with_: Mapping[str, Any], rng: Random) -> Response:
    """Insert thousands of rows that are invalid, duplicates, or without weight."""

    def row(number: int, rows: list[Any]) -> Any:
        if rng.random() < with_["weightless"]:
            return {"ip": f"10.8.{number >> 8}.{number & 255}", "port": 80, "weight": 0}
        # A row may be no object if another fault of this kind has rewritten the list before.
        return copy(rng.choice(rows)) if rows and number % 3 == 0 else _BAD_ROWS[number % len(_BAD_ROWS)]

    def change(rows: list[Any]) -> list[Any]:
        mixed = [row(number, rows) for number in range(with_["rows"])]
        for real in rows:
            mixed.insert(rng.randrange(len(mixed)), real)
        return mixed

    return _rows(answer, change)


def _weights(answer: Response, _: Mapping[str, Any], rng: Random) -> Response:
    """Replace the weights by values of very different magnitude, some so small that a division by them overflows."""

    def change(rows: list[Any]) -> list[Any]:
        return [
            {**row, "weight": rng.choice((5e-324, 1e-310, 1e-60, 1e-20, 0.1, 1, 2**31 - 1))}
            if _has_weight(row)
            else row
            for row in rows
        ]

    return _rows(answer, change)


def _status(answer: Response, with_: Mapping[str, Any], _: Random) -> Response:
    """Change the status, and add 1 to each weight, so that a checker detects a client that applies the list."""
    answer = _rows(
        answer, lambda rows: [{**row, "weight": row["weight"] + 1} if _has_weight(row) else row for row in rows]
    )
    return answer._replace(status=with_["code"])


_LISTS: dict[str, Rewrite] = {
    "list_copies": _copies,
    "list_odd_rows": _odd,
    "list_many_rows": _many,
    "list_weights": _weights,
    "list_other_status": _status,
}
