"""A fake PAI-EAS: a control plane and a fleet of instances that can be made to fail as the real ones do.

`python -m simulator` serves it; `Simulator(reactor)` is the same thing in process. Names are looked up when they are
asked for, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # `typing` takes longer to import than everything here
if TYPE_CHECKING:
    from typing import Any

    from simulator.faults import Fault, Target
    from simulator.fleet import ServiceSpec
    from simulator.instance import State
    from simulator.simulator import Simulator

__all__ = ["Fault", "ServiceSpec", "Simulator", "State", "Target"]

_HOMES = {
    "Fault": "simulator.faults",
    "ServiceSpec": "simulator.fleet",
    "Simulator": "simulator.simulator",
    "State": "simulator.instance",
    "Target": "simulator.faults",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
