"""Deprecated name of `eas_tw.testing`."""

from eas_tw.testing import RemoteService, SimulatorFailed, start_service, subprocess_simulator

__all__ = ["RemoteService", "SimulatorFailed", "start_service", "subprocess_simulator"]
