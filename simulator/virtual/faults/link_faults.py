"""Faults of links: loss, delay, black holes. If faults set the same condition, the value of the last fault applies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.virtual.network.virtual_time import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.virtual.faults.undo import Undo
    from simulator.virtual.network.link_conditions import Link, Way
    from simulator.virtual.network.network import Network
    from simulator.virtual.plan import PlannedFault

_GOOD = {
    "tail": 0.0, "tail_ns": 0, "loss": 0.0, "bytes_per_s": 0, "segment_bytes": 0, "handshake_ns": 0, "is_hole": False,
    "drops_syn": False,
}  # fmt: skip


class LinkFaults:
    """Applies the conditions of active faults to links.

    Args:
        network: The network.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._conditions: dict[Way, list[dict[str, Any]]] = {}
        self._base = {"latency_ns": 0, "jitter_ns": 0}

    def good_conditions(self, latency_s: float, jitter_s: float) -> None:
        """Set the conditions of links without faults."""
        self._base = {"latency_ns": round(latency_s * NS), "jitter_ns": round(jitter_s * NS)}

    def mark(self, ways: Sequence[Way], conditions: dict[str, Any]) -> Undo:
        """Apply conditions to directions of links; return the function that removes them."""
        for way in ways:
            self._conditions.setdefault(way, []).append(conditions)
            self._renew(way)

        def undo() -> None:
            for way in ways:
                # Compare by identity, because two faults may have equal conditions.
                self._conditions[way] = [mark for mark in self._conditions[way] if mark is not conditions]
                self._renew(way)

        return undo

    def _renew(self, way: Way) -> None:
        merged = {**_GOOD, **self._base}
        for mark in self._conditions[way]:
            merged |= mark
        self._network.set([way], **merged)

    def worsen(self, link: Link, step: PlannedFault) -> Undo:
        """Apply the conditions of a drawn fault to a link; return the function that removes them."""
        if step.kind.startswith("blackhole"):
            ways = {"blackhole_up": [link.up], "blackhole_down": [link.down]}.get(step.kind, list(link.ways))
            return self.mark(ways, {"is_hole": True})
        if step.kind == "syn_unanswered":
            return self.mark([link.up], {"drops_syn": True})
        conditions = {
            (name[:-2] + "_ns" if name.endswith("_s") and name != "bytes_per_s" else name): (
                round(value * NS) if name.endswith("_s") and name != "bytes_per_s" else value
            )
            for name, value in step.with_.items()
        }
        if conditions.get("tail"):
            conditions["tail_ns"] = NS
        return self.mark(link.ways, conditions)
