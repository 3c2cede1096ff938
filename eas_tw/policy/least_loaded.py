"""Power of two choices: draw two instances, and pick the one with the lower load for its weight.

Two draws are enough to avoid the most loaded instances without a scan of the fleet (Mitzenmacher 2001). Random draws
also prevent many client processes from choosing the same least loaded instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.policy.load import Loads
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

    from eas_tw.policy.balancing import CallInfo
    from eas_tw.policy.instance import Instance
    from eas_tw.policy.outcomes import Outcome

Key = tuple[str, int]

_TIMEOUTS = (AttemptStatus.ATTEMPT_TIMEOUT, AttemptStatus.UNRESPONSIVE, AttemptStatus.DEADLINE)


class LeastLoaded:
    """A `Balancer` that chooses by the loads that `Loads` computes.

    Args:
        rng: The generator of random numbers for the draws.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.loads = Loads()
        self._streams: set[CallInfo] = set()
        self._instances: tuple[Instance, ...] = ()
        self._now = 0.0

    def update(self, instances: Sequence[Instance]) -> None:
        """Replace the list; an instance of weight 0 is never chosen."""
        self._instances = tuple(instance for instance in instances if instance.weight > 0)
        self.loads.keep({instance.key for instance in self._instances}, self._now)

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Instance | None:
        """Return the less loaded of two drawn instances that are not excluded; `None` when there is none."""
        drawn = self._instances
        if excluded:
            drawn = tuple(instance for instance in drawn if instance not in excluded)
        if len(drawn) <= 1:
            return drawn[0] if drawn else None
        first = int(self._rng.random() * len(drawn))
        second = int(self._rng.random() * (len(drawn) - 1))
        one, other = drawn[first], drawn[second + (second >= first)]
        score = self.loads.score
        return min(one, other, key=lambda instance: score(instance.key, call.now) / instance.weight)

    def started(self, instance: Instance, call: CallInfo) -> None:
        """Record one more call in flight."""
        self.loads.began(instance.key, call.now, is_held=call.hold_s > 0)

    def streaming(self, instance: Instance, call: CallInfo, elapsed_s: float) -> None:
        """Record the time to a stream's head as its latency, since its duration does not depend on the instance."""
        self._streams.add(call)
        self.loads.stream_began(instance.key, elapsed_s, call.now + elapsed_s)

    def ended(self, instance: Instance, call: CallInfo, outcome: Outcome, elapsed_s: float) -> None:
        """Record the end of an attempt.

        Only responses and timeouts count as latencies, because an instance that fails immediately would seem to be the
        fastest. The time of a call with `hold_s` is not recorded, since the service may delay its response.
        """
        self._now = max(self._now, call.now + elapsed_s)
        is_stream = call in self._streams or call.hold_s > 0
        self._streams.discard(call)
        counts = not is_stream and (outcome is ANSWERED or outcome.attempt_status in _TIMEOUTS)
        self.loads.ended(instance.key, elapsed_s if counts else None, call.now + elapsed_s, is_stream=is_stream)
