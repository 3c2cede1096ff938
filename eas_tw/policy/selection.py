"""The arguments for choosing an instance, as one value.

`Cluster.choose` receives a `Selection`, so a new argument of the choice is one new field. A balancer receives only the
field `call`, so a value that a balancer reads is a field of `CallInfo` (`policy/balancing.py`). `now` is a separate
argument, as in all functions of `policy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from eas_tw.policy.balancing import NO_CALL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from eas_tw.policy.balancing import CallInfo

Key = tuple[str, int]


@define(eq=False)
class Selection:
    """The instances that a call has tried, and the attempt for which the next instance is chosen.

    Treat it as immutable. It is not `frozen`, because that would cost each retry 0.2 µs.

    Attributes:
        tried: The ip and port of each instance that the call has tried, including those on which the call is running.
        failed: The tried instances that must not get the call again: those that have failed (a stale connection is not
            a failure), and those on which the call is running.
        call: The call and the number of its attempt, for the balancer.
    """

    tried: Collection[Key]
    failed: Collection[Key]
    call: CallInfo

    def avoiding(self, keys: Iterable[Key]) -> Selection:
        """Return a copy in which `keys` count as tried, too."""
        return Selection((*self.tried, *keys), self.failed, self.call)

    def retrying(self) -> Selection:
        """Return a copy in which only the failed instances count as tried."""
        return Selection(self.failed, self.failed, self.call)


FIRST = Selection((), (), NO_CALL)
"""The selection of the first attempt of every call whose balancer does not read calls, such as `"wrr"`.

All these calls share the object, which saves creating a `Selection` for each call. So a field with a value of the call,
such as the size of its body, would have the same value for all of them: pass such a value in a new `Selection`
(`Call._try`).
"""
