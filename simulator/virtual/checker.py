"""What the checkers of a simulated run have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.virtual.faults.attribution import FaultAttribution

    Report = Callable[[str, str], None]


@define(eq=False, slots=False)
class Checker:
    """The base of checkers that compare what clients do with the faults at work.

    Attributes:
        _seconds: Virtual time.
        _attribution: Of the faults at work.
        _report: Takes a checker's name and what it found.
    """

    _seconds: Callable[[], float]
    _attribution: FaultAttribution
    _report: Report
