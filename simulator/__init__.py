"""A PAI-EAS simulator: a control plane and a fleet of instances, with faults that occur in the real service.

`python -m simulator` serves it; `Simulator(reactor)` runs it inside a process. Names are imported on first access, so
that importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # importing `typing` would take longer than the rest of this module
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
