"""What a call says when it asks for an instance.

One value for all who have a part in the choice: a new field is added here, filled in where a call makes it, and read by
the policy it is for. `now` is an argument of its own, as everywhere in policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Key = tuple[str, int]


@define(eq=False)
class Selection:
    """What a call has done before the attempt for which it asks for an instance.

    Nobody changes one. It is not `frozen` because that would make each retry 0.2 µs dearer.

    Attributes:
        tried: The instances it has tried (ip and port).
        failed: Those of them that have failed, which a stale pooled connection is not.
    """

    tried: Collection[Key]
    failed: Collection[Key]

    def avoiding(self, keys: Iterable[Key]) -> Selection:
        """Return the same, with more instances taken for tried."""
        return Selection((*self.tried, *keys), self.failed)

    def retrying(self) -> Selection:
        """Return the same, with those taken for untried that have not failed."""
        return Selection(self.failed, self.failed)


FIRST = Selection((), ())
"""That of the first attempt of every call, made once: most calls have no other."""
