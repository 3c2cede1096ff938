"""Small, realistic bugs that tests patch into the client.

Each bug has the profile of the runs that must find it, the number of their seeds, and the checkers that may report it.
"""

from tests.simulation.planted import (  # noqa: F401  each module registers its bugs
    balancers,
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
    queues,
    raising,
    retries,
    sharing,
    streams,
    telemetry,
)
from tests.simulation.planted.bugs import BUGS, Bug

__all__ = ["BUGS", "Bug"]
