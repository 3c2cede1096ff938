"""Bugs, planted in the client at run time: small changes of the kind that people make.

Each says in which profile it is looked for, within how many seeds it must be found, and by which checkers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.error import ConnectionDone

from eas_tw.client import PredictClient
from eas_tw.net import discovery, pool
from eas_tw.net.call import Call, Calls
from eas_tw.net.discovery import Poller
from eas_tw.net.http1 import ClientConnection
from eas_tw.net.pool import Pool
from eas_tw.net.upstream import Upstream
from eas_tw.policy import instances
from eas_tw.policy.cluster import Cluster
from eas_tw.policy.health import Health
from eas_tw.policy.instances import Snapshot
from eas_tw.policy.outcomes import Condition, Outcome
from eas_tw.policy.pooling import Plan
from eas_tw.policy.retry import RetryBudget, RetryPolicy
from eas_tw.policy.rotation import Rotation
from eas_tw.telemetry.events import Ejected
from eas_tw.telemetry.record import Record

Patch = Callable[[Any, str, Any], None]


class Bug(NamedTuple):
    plant: Callable[[Patch], None]
    profile: str
    seeds: int
    checkers: str


BUGS: dict[str, Bug] = {}


def bug(checkers: str, profile: str = "chaos", seeds: int = 10) -> Callable[[Callable[[Patch], None]], None]:
    def keep(plant: Callable[[Patch], None]) -> None:
        BUGS[plant.__name__] = Bug(plant, profile, seeds, checkers)

    return keep


# -- connections


@bug("bdfh")
def timed_out_connection_returned_to_the_pool(patch: Patch) -> None:
    def abandon(self: ClientConnection) -> None:
        self._exchange = None
        self._owner.connection_free(self)

    patch(ClientConnection, "abandon", abandon)


@bug("adfh")
def dead_connection_kept(patch: Patch) -> None:
    def connection_lost(self: Pool, connection: ClientConnection) -> None:
        self._open.pop(connection, None)
        self._dial_for_waiting()
        self._report_if_gone()

    patch(Pool, "connection_lost", connection_lost)


@bug("dh", "overload", 4)
def busy_connection_given_again(patch: Patch) -> None:
    submit = Pool.submit

    def shared(self: Pool, call: Any, *, fresh: bool) -> None:
        if self._open and not fresh:
            call.dispatch(next(iter(self._open)), self.host)
        else:
            submit(self, call, fresh=fresh)

    patch(Pool, "submit", shared)


@bug("d", "overload", 4)
def pool_without_limit(patch: Patch) -> None:
    patch(pool, "plan", lambda **_: Plan.CONNECT)


@bug("f")
def waiting_calls_forgotten_when_a_dial_fails(patch: Patch) -> None:
    def dial_failed(self: Pool, dial: Any, outcome: Outcome) -> None:
        self._dials.pop(dial, None)
        self._report_if_gone()

    patch(Pool, "dial_failed", dial_failed)


@bug("bf", seeds=30)
def cut_body_taken_for_whole(patch: Patch) -> None:
    lost = ClientConnection.connectionLost

    def take(self: ClientConnection, reason: Any) -> None:
        if self._exchange is not None and self._head_done:
            self._until_close = True
            reason = type(reason)(ConnectionDone())
        lost(self, reason)

    patch(ClientConnection, "connectionLost", take)


@bug("b", "calm", 2)
def body_of_the_last_answer_stays(patch: Patch) -> None:
    begin = ClientConnection._begin_message

    def keep(self: ClientConnection) -> None:
        before = getattr(self, "_body", [])
        begin(self)
        self._body = before

    patch(ClientConnection, "_begin_message", keep)


@bug("h", "calm", 2)
def idle_timer_left_at_close(patch: Patch) -> None:
    def close_idle(self: Pool) -> None:
        while self._idle:
            self._idle.popleft().close()

    patch(Pool, "_close_idle", close_idle)


@bug("ih", "calm", 2)
def idle_connections_left_at_close(patch: Patch) -> None:
    patch(Pool, "_close_idle", lambda self: self._idle_timer and self._idle_timer.cancel())


# -- calls


@bug("a")
def no_deadline(patch: Patch) -> None:
    def begin(self: Calls, call: Call, now: float, timeout_s: float) -> None:
        self.record.call_began()
        self.budget.record_call(now)

    patch(Calls, "begin", begin)


@bug("a", seeds=20)
def each_attempt_gets_the_whole_deadline(patch: Patch) -> None:
    again = Call._try

    def renew(self: Call, now: float, *given: Any) -> None:
        self._calls._in_flight.clear(self, self._timeout_s)
        self._calls._in_flight.set(self, now, self._timeout_s)
        self.deadline = now + self._timeout_s
        again(self, now, *given)

    patch(Call, "_try", renew)


@bug("a")
def deadline_in_half_the_time(patch: Patch) -> None:
    start = Call.start

    def hurry(self: Call) -> Any:
        self._timeout_s /= 2
        return start(self)

    patch(Call, "start", hurry)


@bug("ch", seeds=20)
def cancelled_call_goes_on(patch: Patch) -> None:
    def cancelled(self: Call, _: Any) -> None:
        self._calls.end(self, self._timeout_s)

    patch(Call, "_cancelled", cancelled)


@bug("cl")
def one_attempt_too_many(patch: Patch) -> None:
    decide = RetryPolicy.decide

    def generous(self: RetryPolicy, history: Any, *given: Any, **named: Any) -> Any:
        return decide(self, history[1:] or history, *given, **named)

    patch(RetryPolicy, "decide", generous)


@bug("c")
def retried_on_the_same_instance(patch: Patch) -> None:
    choose = Upstream.choose

    def again(self: Upstream, tried: Any, failed: Any, now: float) -> Any:
        return self._cluster._known.get(tried[-1]) if tried else choose(self, tried, failed, now)

    patch(Upstream, "choose", again)


@bug("f")
def refused_connect_not_retried(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(
        RetryPolicy,
        "_is_retried",
        lambda self, last: last.condition is not Condition.CONNECT_REFUSED and is_retried(self, last),
    )


@bug("f")
def stale_connection_is_the_callers_problem(patch: Patch) -> None:
    is_retried = RetryPolicy._is_retried
    patch(
        RetryPolicy, "_is_retried", lambda self, last: last.condition is not Condition.STALE and is_retried(self, last)
    )


@bug("f")
def budget_never_refilled(patch: Patch) -> None:
    def spend(self: RetryBudget, now: float) -> bool:
        self._used = getattr(self, "_used", 0) + 1
        return self._used < 5

    patch(RetryBudget, "spend", spend)


@bug("f", seeds=20)
def pause_longer_than_the_call(patch: Patch) -> None:
    patch(RetryPolicy, "_after_s", lambda self, where, history, rng: 1.0 if len(history) > 1 else 0.0)


# -- the fleet


@bug("i")
def ejection_never_expires(patch: Patch) -> None:
    patch(Health, "returning", lambda self, now: ())


@bug("fi", seeds=20)
def ejected_means_gone(patch: Patch) -> None:
    """Whoever is ejected is no last resort either."""
    patch(Cluster, "_last_resort", lambda self, tried, failed, now: None)


@bug("egh", "discovery")
def removed_instance_keeps_its_turn(patch: Patch) -> None:
    patch(Rotation, "remove", lambda self, keys: None)


@bug("g", "discovery", 20)
def new_weight_ignored(patch: Patch) -> None:
    add = Rotation.add
    patch(
        Rotation, "add", lambda self, given, shares: add(self, [i for i in given if i.key not in self._turns], shares)
    )


@bug("gh", "discovery", 40)
def weight_nought_gets_calls(patch: Patch) -> None:
    apply = Cluster.apply

    def all_of_them(self: Cluster, given: Any, now: float) -> Any:
        found = apply(self, [i if i.weight > 0 else i._replace(weight=1) for i in given], now)
        self.instances = tuple(given)
        return found

    patch(Cluster, "apply", all_of_them)


@bug("gm", "calm", 4)
def rotation_starts_over_with_each_list(patch: Patch) -> None:
    def apply(self: Upstream, given: Any) -> Any:
        result = real(self, given)
        balancer = self._cluster._balancer = Rotation(self._cluster._balancer._rng)
        balancer.add(given)
        return result

    real = Upstream.apply
    patch(Upstream, "apply", apply)


# -- discovery


@bug("ef", "discovery")
def bad_reply_empties_the_list(patch: Patch) -> None:
    refuse = Poller._refuse

    def clear(self: Poller, error: Any) -> None:
        refuse(self, error)
        self._on_snapshot(Snapshot((), {}))

    patch(Poller, "_refuse", clear)


@bug("efh", "discovery")
def empty_list_accepted(patch: Patch) -> None:
    read = instances.read_upstreams

    def lenient(body: bytes) -> Snapshot:
        try:
            return read(body)
        except instances.RefusedReplyError as error:
            if error.reason is instances.Refusal.EMPTY_LIST:
                return Snapshot((), {})
            raise

    patch(discovery, "read_upstreams", lenient)


@bug("efgi", "discovery")
def zero_weights_accepted(patch: Patch) -> None:
    read = instances.read_upstreams

    def lenient(body: bytes) -> Snapshot:
        try:
            return read(body)
        except instances.RefusedReplyError as error:
            if error.reason is instances.Refusal.ZERO_WEIGHTS:
                return Snapshot(read(body.replace(b'"weight": 0', b'"weight": 1')).instances, {})
            raise

    patch(discovery, "read_upstreams", lenient)


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


# -- telemetry


@bug("n")
def ejection_told_and_not_counted(patch: Patch) -> None:
    def ejected(self: Record, instance: Any, why: str) -> None:
        self._tell(Ejected(self.service, instance, why))

    patch(Record, "ejected", ejected)


@bug("n")
def every_retry_counted_as_a_failover(patch: Patch) -> None:
    """Also one on the same instance, after a stale connection or when there is no other."""
    began = Record.attempt_began

    def twice(self: Record, attempt: Any, address: str) -> None:
        before = self.counters.failovers
        began(self, attempt, address)
        self.counters.failovers = before + (attempt.retry_of is not None)

    patch(Record, "attempt_began", twice)
