"""The base class of the checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.virtual.faults.attribution import FaultAttribution

    Report = Callable[[str, str], None]


@define(eq=False, slots=False)
class Checker:
    """The base of checkers that compare the behaviour of clients with the active faults.

    Attributes:
        _seconds: Virtual time, in seconds.
        _attribution: Which failures the active faults explain.
        _report: Takes a checker's name and the description of a violation.
    """

    _seconds: Callable[[], float]
    _attribution: FaultAttribution
    _report: Report
