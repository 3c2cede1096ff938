"""Tools for tests with a simulated EAS: they start the simulator in a process, and control its services.

They work with any test runner; the pytest plug-in (`eas_tw.testing.pytest_plugin`) uses them. No module here imports
the package `simulator`, because a project may have a module of that name, and pytest puts the project's folder on the
path.
"""

from typing import TYPE_CHECKING

from eas_tw.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from eas_tw.testing.answers import Received, answer, matching
    from eas_tw.testing.process import SimulatorFailed, subprocess_simulator
    from eas_tw.testing.remote import EventStream, Remote, RemoteError, Unreachable
    from eas_tw.testing.service import RemoteService, first_service, start_service

__all__ = [
    "EventStream",
    "Received",
    "Remote",
    "RemoteError",
    "RemoteService",
    "SimulatorFailed",
    "Unreachable",
    "answer",
    "first_service",
    "matching",
    "start_service",
    "subprocess_simulator",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "EventStream": "eas_tw.testing.remote",
            "Received": "eas_tw.testing.answers",
            "Remote": "eas_tw.testing.remote",
            "RemoteError": "eas_tw.testing.remote",
            "RemoteService": "eas_tw.testing.service",
            "SimulatorFailed": "eas_tw.testing.process",
            "Unreachable": "eas_tw.testing.remote",
            "answer": "eas_tw.testing.answers",
            "matching": "eas_tw.testing.answers",
            "first_service": "eas_tw.testing.service",
            "start_service": "eas_tw.testing.service",
            "subprocess_simulator": "eas_tw.testing.process",
        },
    )
