"""The interface of clients that the telemetry adapters use, common to all kinds of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eas_tw.telemetry.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eas_tw.telemetry.events import Event

S = TypeVar("S")
T = TypeVar("T")

_READ_TRIES = 5  # a read fails only if another thread adds a key to a dictionary during the iteration, which is rare


class Watched(Protocol):
    """The interface of a client of `eas_tw`, `eas_tw.aio` or `eas_tw.blocking`, before or after its `init`."""

    @property
    def counters(self) -> Counters:
        """The client's counters."""

    @property
    def service_name(self) -> str:
        """The service's name."""

    @property
    def instances(self) -> Sequence[Any]:
        """The list of instances."""

    @property
    def ejected(self) -> Sequence[Any]:
        """The instances that are ejected at the moment."""

    @property
    def discovery(self) -> Any:
        """The number of polls, the age of the list, and the rejected replies by reason."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call a function with each event, on the thread of the client's reactor; the result removes the listener."""


def as_watched(client: Any) -> Watched:
    """Return the client to watch.

    Returns:
        1. `client.__wrapped__`, if `client` is a `TracedClient`.
        2. `client` itself, if it is a client.
        3. `client.client`, if it is an object such as a `ClientService`.

    Raises:
        TypeError: None of these is a client.
    """
    for found in _candidates(client):
        # The class PredictClient has `listen` too, but its `counters` is no Counters object.
        if isinstance(getattr(found, "counters", None), Counters) and callable(getattr(found, "listen", None)):
            watched: Watched = found
            return watched
    what = f"the class {client.__name__}" if isinstance(client, type) else f"a {type(client).__name__}"
    raise TypeError(
        f"a PredictClient of eas_tw, eas_tw.aio or eas_tw.blocking is required, or an object that has one as .client, "
        f"such as a ClientService; got {what}"
    )


def _candidates(client: Any) -> Iterator[Any]:
    yield getattr(client, "__wrapped__", client)
    yield getattr(client, "client", None)


def read_steadily(read: Callable[[S], T], client: S) -> T:
    """Read from a client that runs on another thread, and repeat the read if a dictionary changed during iteration."""
    for _ in range(_READ_TRIES - 1):
        try:
            return read(client)
        except RuntimeError:  # dictionary changed size during iteration
            continue
    return read(client)
