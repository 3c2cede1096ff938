"""The contract between the cluster and a balancer: the built-in ones and those of programs implement the same Protocol.

A balancer gets the eligible instances and proposes one for each attempt. The cluster keeps the rules that no balancer
may break: ejections, the instances that an attempt must not use, and the limit of calls in flight.
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
    """The headers that a program passed with a call; names ignore case."""

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

    Each attempt has an object of its own, and `started`, `streaming` and `ended` get the same object as `choose`.

    Attributes:
        key: The call's `key`: what it is about, such as a user or a session; `None` for none.
        method: The HTTP method, such as `POST`.
        path: The path below the service's path, as it was passed to the client; empty for none.
        headers: The headers that were passed with the call; names ignore case.
        attempt: The number of the attempt in its call, from 1.
        now: When the instance is chosen, in seconds of the client's clock.
        hold_s: Seconds for which the service may hold the response back, such as a get of a queue that waits for a
            frame: for so long, silence says nothing about the instance, nor does the latency of the call.
    """

    key: str | bytes | None = None
    method: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = CallHeaders()
    attempt: int = 0
    now: float = 0.0
    hold_s: float = 0.0

    def at(self, attempt: int, now: float) -> CallInfo:
        """Return the same call for an attempt."""
        return CallInfo(self.key, self.method, self.path, self.headers, attempt, now, self.hold_s)


NO_CALL = CallInfo()
"""Passed to `choose` by a client whose balancer does not read calls, to save the cost of an object for each attempt."""


class Balancer(Protocol):
    """Chooses the instance of an attempt; `"wrr"`, `"p2c"` and `"hash"` implement it, and programs may.

    `ClientConfig.balancer` takes a class or a function that is called with the client's `random.Random` and returns a
    balancer. All methods are called on the reactor's thread and must not block.

    Three more methods are optional, for balancers that follow the load. Each chosen instance is passed once to
    `started` and once to `ended`, also if the cluster chose another instance than the balancer proposed.

    - `started(instance, call)`: an attempt is about to be sent to the instance.
    - `streaming(instance, call, elapsed_s)`: the head of a streamed response has arrived; `ended` follows.
    - `ended(instance, call, outcome, elapsed_s)`: the attempt has ended; `outcome` is an `Outcome`. `elapsed_s` are the
      seconds since `call.now`.
    """

    def update(self, instances: Sequence[Instance]) -> None:
        """Replace the eligible instances.

        Called whenever they change. An instance that is ejected, or that the filter or the subset leaves out, is not
        among them.

        Args:
            instances: The eligible instances in no particular order. `weight` is the effective one, > 0: smaller than
                the control plane's during slow start.
        """

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Instance | None:
        """Propose an instance.

        Args:
            call: The call, see `CallInfo`.
            excluded: The instances that must not be chosen: the call has tried them, or they are at their limit.

        Returns:
            An eligible instance that is not in `excluded`, or `None`.
        """


class Excluded(AbstractSet["Instance"]):
    """The instances that an attempt must not use; an instance with another weight is the same one.

    Args:
        keys: Ip and port of each.
        known: The instances of the list.
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
