"""What the telemetry adapters see of a client, whichever kind it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eas_tw.telemetry.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eas_tw.telemetry.events import Event

S = TypeVar("S")
T = TypeVar("T")

_READ_TRIES = 5


class Watched(Protocol):
    """A client: of `eas_tw`, of `eas_tw.aio` or of `eas_tw.blocking`, before or after its `init`."""

    @property
    def counters(self) -> Counters:
        """What it did so far."""

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
    def is_closed(self) -> bool:
        """Whether it was closed."""

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of everything that happens, on the thread of the client's reactor."""


def as_watched(client: Any) -> Watched:
    """Return the client to watch: `client` itself, the one that it wraps, or the one it has as `.client`.

    Raises:
        TypeError: It is none of these.
    """
    for found in _candidates(client):
        # A class has these names too, but no counters.
        if isinstance(getattr(found, "counters", None), Counters) and callable(getattr(found, "listen", None)):
            watched: Watched = found
            return watched
    what = f"the class {client.__name__}" if isinstance(client, type) else f"a {type(client).__name__}"
    raise TypeError(
        f"a PredictClient of eas_tw, eas_tw.aio or eas_tw.blocking is wanted, or what has one as its .client, such as "
        f"ClientService; got {what}"
    )


def _candidates(client: Any) -> Iterator[Any]:
    yield getattr(client, "__wrapped__", client)
    yield getattr(client, "client", None)


def read_steadily(read: Callable[[S], T], client: S) -> T:
    """Read from a client that may be at work on another thread, where what is iterated over may change meanwhile."""
    for _ in range(_READ_TRIES - 1):
        try:
            return read(client)
        except RuntimeError:  # dictionary changed size during iteration
            continue
    return read(client)
