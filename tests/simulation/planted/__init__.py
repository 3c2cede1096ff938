"""Bugs, planted in the client at run time: small changes of the kind that people make.

Each says in which profile it is looked for, within how many seeds it must be found, and by which checkers.
"""

from tests.simulation.planted import (  # noqa: F401  plant
    calls,
    clocks,
    closing,
    connections,
    discovery,
    ejections,
    fleet,
    gateway,
    hedges,
    lists,
    long_lists,
    minority,
    names,
    once,
    raising,
    retries,
    sharing,
    telemetry,
)
from tests.simulation.planted.bugs import BUGS, Bug

__all__ = ["BUGS", "Bug"]
