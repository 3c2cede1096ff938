"""The interface between a cluster and its balancer, which built-in balancers and programs' balancers implement.

A balancer receives the eligible instances and proposes an instance for each attempt. The cluster enforces the rules
that no balancer can override: ejections, the instances that an attempt must not use, and the limit of calls in flight.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from eas_tw.policy.instance import Instance

Key = tuple[str, int]


class CallHeaders(Mapping[str, str]):
    """The headers that a program passed with a call; names are case-insensitive."""

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._values = {} if headers is None else {name.lower(): value for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        """Return the names only, because a value may be a secret."""
        return f"<headers {', '.join(self._values)}>"


@define(eq=False)
class CallInfo:
    """The call for which an instance is chosen; treat it as immutable.

    Each attempt gets a separate object. `started`, `streaming` and `ended` receive the object that `choose` received.

    Attributes:
        key: The `key` that was passed with the call, such as the id of a user or session; `None` for none.
        method: The HTTP method, such as `POST`.
        path: The path relative to the service's path, as it was passed to the client; empty for the service's path
            itself.
        headers: The headers that were passed with the call; names are case-insensitive.
        attempt: The number of the attempt in its call, from 1.
        now: The time of the choice, in seconds of the client's clock.
        hold_s: Seconds for which the service may delay the response on purpose, as for a get that waits until a queue
            has a frame; 0 for other calls. During this time a missing response does not count against the
            instance, and the latency of such a call is not evaluated.
    """

    key: str | bytes | None = None
    method: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = CallHeaders()
    attempt: int = 0
    now: float = 0.0
    hold_s: float = 0.0

    def at(self, attempt: int, now: float) -> CallInfo:
        """Return a copy for the attempt with the number `attempt`, chosen at `now`."""
        # All fields are passed by position, because `attrs.evolve` takes 3 µs longer. A test in
        # tests/policy/test_balancing.py fails if a field is not copied.
        return CallInfo(self.key, self.method, self.path, self.headers, attempt, now, self.hold_s)


NO_CALL = CallInfo()
"""The `CallInfo` for balancers that do not read calls; sharing it saves creating an object for each attempt."""


class Balancer(Protocol):
    """Chooses the instance of an attempt; implemented by `"wrr"`, `"p2c"` and `"hash"`, and by programs.

    `ClientConfig.balancer` takes a class or a function that is called with the client's `random.Random` and returns a
    balancer. All methods are called on the reactor's thread and must not block.

    Three more methods are optional, for balancers that track the load. Each chosen instance is passed once to
    `started` and once to `ended`, even if the balancer had proposed a different instance.

    - `started(instance, call)`: an attempt is about to be sent to the instance.
    - `streaming(instance, call, elapsed_s)`: the head of a streamed response has arrived; `ended` follows.
    - `ended(instance, call, outcome, elapsed_s)`: the attempt has ended; `outcome` is an `Outcome`. `elapsed_s` is the
      time in seconds since `call.now`.
    """

    def update(self, instances: Sequence[Instance]) -> None:
        """Replace the eligible instances.

        Called whenever an instance or a weight changes. Instances that are ejected, or that the filter or the subset
        excludes, are not eligible.

        Args:
            instances: The eligible instances in no particular order. `weight` is the effective weight, > 0; during
                slow start it is smaller than the weight from the control plane.
        """

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Instance | None:
        """Propose an instance.

        Args:
            call: The call, see `CallInfo`.
            excluded: The instances that must not be chosen, because the call has tried them, or because they are at
                the limit of calls in flight.

        Returns:
            An eligible instance that is not in `excluded`, or `None`.
        """


class Excluded(AbstractSet["Instance"]):
    """The set of instances that an attempt must not use; instances are compared by ip and port, not by weight.

    Args:
        keys: The ip and port of each excluded instance.
        known: The instances of the present list, by ip and port.
    """

    __slots__ = ("_keys", "_known")

    def __init__(self, keys: Collection[Key], known: Mapping[Key, Instance]) -> None:
        self._keys = frozenset(keys)
        self._known = known

    @classmethod
    def _from_iterable(cls, it: Any) -> Any:
        """Return the results of set operations as plain sets (`collections.abc.Set`)."""
        return frozenset(it)

    def __contains__(self, instance: object) -> bool:
        return isinstance(instance, tuple) and instance[:2] in self._keys

    def __iter__(self) -> Iterator[Instance]:
        return (self._known[key] for key in self._keys if key in self._known)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<Excluded {', '.join(instance.address for instance in self)}>"
