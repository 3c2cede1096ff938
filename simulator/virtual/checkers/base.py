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
    """Base class of the checkers that compare the behaviour of clients with the active faults.

    Attributes:
        _seconds: Returns the virtual time, in seconds.
        _attribution: Determines which failures the active faults explain.
        _report: Called with the name of a checker and the description of a violation.
    """

    _seconds: Callable[[], float]
    _attribution: FaultAttribution
    _report: Report
