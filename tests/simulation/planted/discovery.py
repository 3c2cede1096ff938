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


@bug("ef", "discovery")
def bad_reply_empties_the_list(patch: Patch) -> None:
    refuse = Poller._refuse

    def clear(self: Poller, error: Any) -> None:
        refuse(self, error)
        self._on_snapshot(snapshot())

    patch(Poller, "_refuse", clear)


def _lenient(patch: Patch, reason: instances.Refusal, instead: Callable[[Snapshot | None], Snapshot]) -> None:
    """Take a reply that is refused for this reason for a list, made of the last good one."""
    read = UpstreamsSource.read

    async def lenient(self: UpstreamsSource) -> Snapshot:
        try:
            good = await read(self)
        except instances.RefusedReplyError as error:
            if error.reason is not reason:
                raise
            return instead(getattr(self, "last_good", None))
        self.last_good = good  # type: ignore[attr-defined]
        return good

    patch(UpstreamsSource, "read", lenient)


def snapshot(*given: instances.Instance) -> Snapshot:
    values: dict[str, Any] = {"instances": given, "bad_rows": Counter(), "examples": {}}
    return Snapshot(**{name: values[name] for name in Snapshot._fields})


@bug("efh", "discovery")
def empty_list_accepted(patch: Patch) -> None:
    _lenient(patch, instances.Refusal.EMPTY_LIST, lambda _: snapshot())


@bug("efgi", "discovery")
def zero_weights_accepted(patch: Patch) -> None:
    """As equal ones."""

    def equal(good: Snapshot | None) -> Snapshot:
        return snapshot(*(one._replace(weight=1) for one in good.instances)) if good else snapshot()

    _lenient(patch, instances.Refusal.ZERO_WEIGHTS, equal)


@bug("ei", "discovery")
def polling_ends_at_the_first_bad_reply(patch: Patch) -> None:
    refuse = Poller._refuse

    def give_up(self: Poller, error: Any) -> None:
        refuse(self, error)
        self._is_stopped = True

    patch(Poller, "_refuse", give_up)


@bug("e", "calm", 2)
def polling_with_the_traffic(patch: Patch) -> None:
    predict = PredictClient.predict

    def poll_too(self: PredictClient, *given: Any, **named: Any) -> Any:
        if self.counters.calls % 5 == 4:
            self._session._poller._next.cancel()
            self._session._poller.start()
        return predict(self, *given, **named)

    patch(PredictClient, "predict", poll_too)


@bug("ei", "discovery", 20)
def only_the_first_good_list_counts(patch: Patch) -> None:
    accept = Poller._accept
    patch(Poller, "_accept", lambda self, snapshot: None if self._good_at else accept(self, snapshot))


@bug("hi", "calm", 2)
def poll_timer_left_at_close(patch: Patch) -> None:
    def stop(self: Poller) -> Any:
        return self._source.close()

    patch(Poller, "stop", stop)


@bug("h")
def error_nobody_takes(patch: Patch) -> None:
    """A Deferred that fails while nobody listens."""
    leg_ended = Call._leg_ended

    def ended(self: Call, leg: Any, outcome: Outcome) -> None:
        leg_ended(self, leg, outcome)
        discovery.Deferred().errback(ArithmeticError(math.pi))

    patch(Call, "_leg_ended", ended)
