"""Bugs of discovery."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from eas_tw.client import PredictClient
from eas_tw.net import discovery
from eas_tw.net.call import Call
from eas_tw.net.discovery import Poller, UpstreamsSource
from eas_tw.policy import instances
from eas_tw.policy.instances import Snapshot
from eas_tw.policy.outcomes import Outcome
from tests.simulation.planted.bugs import Patch, bug


@bug("last-good-list failure-explained", "discovery")
def bad_reply_empties_the_list(patch: Patch) -> None:
    refuse = Poller._reject

    def clear(self: Poller, error: Any) -> None:
        refuse(self, error)
        self._on_snapshot(snapshot())

    patch(Poller, "_reject", clear)


def _lenient(patch: Patch, reason: instances.RejectReason, instead: Callable[[Snapshot | None], Snapshot]) -> None:
    """Replace a reply that is rejected for `reason` by a list made from the last good one."""
    read = UpstreamsSource.read

    async def lenient(self: UpstreamsSource) -> Snapshot:
        try:
            good = await read(self)
        except instances.DiscoveryReplyRejected as error:
            if error.reason is not reason:
                raise
            return instead(getattr(self, "last_good", None))
        self.last_good = good  # type: ignore[attr-defined]
        return good

    patch(UpstreamsSource, "read", lenient)


def snapshot(*given: instances.Instance) -> Snapshot:
    values: dict[str, Any] = {"instances": given, "bad_rows": Counter(), "examples": {}}
    return Snapshot(**{name: values[name] for name in Snapshot._fields})


@bug("last-good-list failure-explained nothing-left", "discovery")
def empty_list_accepted(patch: Patch) -> None:
    _lenient(patch, instances.RejectReason.EMPTY_LIST, lambda _: snapshot())


@bug("last-good-list failure-explained exact-shares recovers-after-heal", "discovery")
def zero_weights_accepted(patch: Patch) -> None:
    """For a reply whose weights are all 0, the instances of the last good list get equal weights."""

    def equal(good: Snapshot | None) -> Snapshot:
        return snapshot(*(one._replace(weight=1) for one in good.instances)) if good else snapshot()

    _lenient(patch, instances.RejectReason.ZERO_WEIGHTS, equal)


@bug("last-good-list recovers-after-heal", "discovery")
def polling_ends_at_the_first_bad_reply(patch: Patch) -> None:
    refuse = Poller._reject

    def give_up(self: Poller, error: Any) -> None:
        refuse(self, error)
        self._is_stopped = True

    patch(Poller, "_reject", give_up)


@bug("last-good-list", "calm", 2)
def polls_triggered_by_calls(patch: Patch) -> None:
    predict = PredictClient.predict

    def poll_too(self: PredictClient, *given: Any, **named: Any) -> Any:
        if self.counters.calls % 5 == 4:
            self._runtime._poller._next.cancel()
            self._runtime._poller.start()
        return predict(self, *given, **named)

    patch(PredictClient, "predict", poll_too)


@bug("last-good-list recovers-after-heal", "discovery", 20)
def later_lists_ignored(patch: Patch) -> None:
    accept = Poller._accept
    patch(Poller, "_accept", lambda self, snapshot: None if self._good_at else accept(self, snapshot))


@bug("nothing-left recovers-after-heal", "calm", 2)
def poll_timer_left_at_close(patch: Patch) -> None:
    def stop(self: Poller) -> Any:
        return self._source.close()

    patch(Poller, "stop", stop)


@bug("nothing-left")
def unhandled_error_in_a_deferred(patch: Patch) -> None:
    attempt_ended = Call._attempt_ended

    def ended(self: Call, attempt: Any, outcome: Outcome) -> None:
        attempt_ended(self, attempt, outcome)
        discovery.Deferred().errback(ArithmeticError(math.pi))

    patch(Call, "_attempt_ended", ended)
