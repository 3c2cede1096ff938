"""`eas_tw.testing`, under its older name."""

from eas_tw.testing import RemoteService, SimulatorFailed, start_service, subprocess_simulator

__all__ = ["RemoteService", "SimulatorFailed", "start_service", "subprocess_simulator"]
