"""What the adapters of telemetry see of a client: its account, and nothing they could change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from eas_tw.telemetry.counters import Counters
    from eas_tw.telemetry.events import Event


class Watched(Protocol):
    """A `PredictClient`, seen from below."""

    counters: Counters

    @property
    def service_name(self) -> str:
        """The service."""

    @property
    def instances(self) -> Sequence[Any]:
        """The list of instances."""

    @property
    def ejected(self) -> Sequence[Any]:
        """Those left out for a while."""

    @property
    def discovery(self) -> Any:
        """The account of discovery."""

    @property
    def wall_clock(self) -> Callable[[], float]:
        """Seconds since the epoch."""

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of everything that happens."""

    def predict(self, request: Any, **options: Any) -> Deferred[Any]:
        """Call the service."""
