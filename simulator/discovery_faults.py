"""Discovery faults: each changes the rows of a discovery reply.

All are pure functions except `flapping`, which stores the addresses that it leaves out at present, and `stale`, which
stores the rows that were present when the fault was added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from random import Random

    from simulator.faults import Fault

Row = dict[str, Any]

BAD_ROWS: tuple[Any, ...] = (
    None,
    "172.16.0.1:50000",
    {},
    {"ip": "172.16.0.1"},
    {"ip": "172.16.0.1", "port": "50000", "weight": 100},
    {"ip": "172.16.0.1", "port": 0, "weight": 100},
    {"ip": "172.16.0.1", "port": 50000, "weight": -1},
    {"ip": "172.16.0.1", "port": 50000, "weight": "many"},
    {"ip": "", "port": 50000, "weight": 100},
    {"ip": None, "port": 50000, "weight": 100},
)


class DiscoveryFaults:
    """The state of the active discovery faults.

    Args:
        seconds: Clock, in seconds.
        rng: Random source of `flapping`.
    """

    def __init__(self, seconds: Callable[[], float], rng: Random) -> None:
        self._seconds = seconds
        self._rng = rng
        self._stale: dict[str, list[Row]] = {}
        self._flapping: dict[str, _Flapping] = {}

    def begin(self, fault: Fault, rows: list[Row]) -> None:
        """Prepare a new fault; `rows` are the present rows of all services."""
        if fault.type == "stale":
            self._stale[fault.name] = rows
        elif fault.type == "flapping":
            self._flapping[fault.name] = _Flapping(fault, self._seconds())

    def forget(self, names: Collection[str]) -> None:
        """Discard the state of all faults except those with these names."""
        self._stale = {name: rows for name, rows in self._stale.items() if name in names}
        self._flapping = {name: flapping for name, flapping in self._flapping.items() if name in names}

    def tell(self, fault: Fault, services: Sequence[str], rows: list[Row]) -> list[Any]:
        """Apply a fault to the rows of a reply.

        Args:
            fault: The discovery fault.
            services: Names of the requested services.
            rows: Rows without the fault.
        """
        if (fault.type == "stale" and fault.name not in self._stale) or (
            fault.type == "flapping" and fault.name not in self._flapping
        ):
            return rows  # the fault was removed while this reply was delayed
        if fault.type == "stale":
            return [row for row in self._stale[fault.name] if row["service"] in services]
        # Rows without a service were inserted by `bad_rows`. Other faults do not reweight, copy or select them.
        true = [row for row in rows if _is_true(row)]
        others = [row for row in rows if not _is_true(row)]
        if fault.type == "flapping":
            return [*others, *self._flapping[fault.name].rows(true, self._seconds(), self._rng)]
        return _LIST_FAULTS[fault.type](fault, true, others)


class _Flapping:
    """A `flapping` fault omits some instances in every second period; with `period` 0, each reply is a period."""

    def __init__(self, fault: Fault, now: float) -> None:
        self._fault = fault
        self._since = now
        self._replies = 0
        self._phase = 0
        self._missing: frozenset[Any] = frozenset()

    def rows(self, rows: list[Row], now: float, rng: Random) -> list[Row]:
        period_s = self._fault.get("period") / 1000
        phase = 1 + (int((now - self._since) / period_s) if period_s else self._replies)
        self._replies += 1
        if phase != self._phase:
            self._phase = phase
            count = min(len(rows), max(1, round(len(rows) * self._fault.get("missing")))) if phase % 2 else 0
            self._missing = frozenset(_address(row) for row in rng.sample(rows, count))
        return [row for row in rows if _address(row) not in self._missing]


def _is_true(row: Any) -> bool:
    return isinstance(row, dict) and "service" in row


def _address(row: Row) -> tuple[str, int]:
    return row["ip"], row["port"]


def _weigh(fault: Fault, rows: list[Row], others: list[Any]) -> list[Any]:
    return [*others, *({**row, "weight": fault.get("weight")} for row in rows)]


def _double(fault: Fault, rows: list[Row], others: list[Any]) -> list[Any]:
    copies = [{**row, "weight": row["weight"] + copy} for row in rows for copy in range(fault.get("copies"))]
    return [*others, *copies]


def _strangers(fault: Fault, rows: list[Row], _: list[Any]) -> list[Any]:
    """Replace the rows by rows with addresses on which nothing listens: loopback addresses with port 1."""
    like = rows[0] if rows else {"app": "stranger", "service": ""}
    return [
        {**like, "ip": f"127.254.{number // 250}.{number % 250 + 1}", "port": 1, "weight": 100}
        for number in range(fault.get("rows"))
    ]


_LIST_FAULTS: dict[str, Callable[[Fault, list[Row], list[Any]], list[Any]]] = {
    "empty_list": lambda *_: [],
    "bad_rows": lambda _, rows, others: [*BAD_ROWS, *others, *rows],
    "zero_weights": _weigh,
    "duplicates": _double,
    "strangers": _strangers,
}
LIST_FAULTS = frozenset({*_LIST_FAULTS, "stale", "flapping"})
