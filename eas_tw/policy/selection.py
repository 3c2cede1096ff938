"""The arguments of the choice of an instance, as one value.

Every policy that takes part in the choice gets the same value. A new field is added here, filled in where a call makes
the value, and read by the policy that needs it. `now` is a separate argument, as everywhere in policy.
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
    """The instances that a call has used before the attempt for which it needs one.

    Treat it as immutable. It is not `frozen`, because that would cost each retry 0.2 µs.

    Attributes:
        tried: The instances that the call has tried (ip and port), also those on which it is running.
        failed: The tried instances that must not get the call again: those that have failed (a stale connection is not
            a failure), and those on which it is running.
        call: The call and the number of its attempt, for the balancer.
    """

    tried: Collection[Key]
    failed: Collection[Key]
    call: CallInfo

    def avoiding(self, keys: Iterable[Key]) -> Selection:
        """Return a copy in which more instances count as tried."""
        return Selection((*self.tried, *keys), self.failed, self.call)

    def retrying(self) -> Selection:
        """Return a copy in which only the failed instances count as tried."""
        return Selection(self.failed, self.failed, self.call)


FIRST = Selection((), (), NO_CALL)
"""The selection of a first attempt whose balancer does not read calls, shared because most calls need no other."""
