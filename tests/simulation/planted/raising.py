"""Bugs that faults inside clients reveal: inconsistent state, calls that never end, tokens in messages."""

from __future__ import annotations

from typing import Any

from eas_tw.client import PredictClient
from eas_tw.net.call import Call
from eas_tw.net.upstream import Upstream
from eas_tw.policy.outcomes import AttemptStatus, Outcome
from tests.simulation.planted.bugs import Patch, bug


@bug("nothing-left", seeds=4)
def global_reactor_used(patch: Patch) -> None:
    began = Call.start

    def start(self: Call, preparing: Any = None) -> Any:
        from twisted.internet import reactor  # noqa: PLC0415, TID251

        reactor.seconds()  # type: ignore[attr-defined]
        return began(self, preparing)

    patch(Call, "start", start)


@bug("token-hidden", seeds=10)
def token_in_the_repr(patch: Patch) -> None:
    represent = PredictClient.__repr__
    patch(PredictClient, "__repr__", lambda self: f"{represent(self)} {self._token_shown}")
    set_token = PredictClient.set_token

    def remember(self: PredictClient, token: str) -> None:
        self._token_shown = token  # type: ignore[attr-defined]
        set_token(self, token)

    patch(PredictClient, "set_token", remember)


@bug("token-hidden", seeds=100)
def token_in_an_error(patch: Patch) -> None:
    fail = Call._fail

    def tell(self: Call, error: Exception) -> None:
        error.args = (*error.args, "a-token-nobody-may-see")
        fail(self, error)

    patch(Call, "_fail", tell)


@bug("token-hidden", seeds=100)
def token_in_the_log(patch: Patch) -> None:
    from eas_tw.net import upstream  # noqa: PLC0415

    apply = Upstream.apply

    def tell(self: Upstream, given: Any) -> Any:
        upstream._log.info("the fleet of {token}", token="a-token-nobody-may-see")
        return apply(self, given)

    patch(Upstream, "apply", tell)


@bug("next-good-list-applied", seeds=100)
def list_stored_before_it_is_applied(patch: Patch) -> None:
    """If applying a list raises, the client ignores the next equal list as already applied."""
    from eas_tw.policy.cluster import Cluster  # noqa: PLC0415

    apply = Cluster.apply

    def remember(self: Cluster, given: Any, now: float) -> Any:
        if getattr(self, "_last_given", None) == tuple(given):
            return ()
        self._last_given = tuple(given)  # type: ignore[attr-defined]
        return apply(self, given, now)

    patch(Cluster, "apply", remember)


@bug("cancelled-is-over hedge-rules", seeds=100)
def call_cancelled_in_a_listener_continues(patch: Patch) -> None:
    """The call does not check whether a listener has cancelled it."""
    go_on = Call._go_on

    def once_more(self: Call, answer: Any) -> None:
        if self.done.called:
            self._is_over = False
            self._try(self._context.seconds())
        else:
            go_on(self, answer)

    patch(Call, "_go_on", once_more)


@bug("local-not-blamed", seeds=100)
def instance_ejected_for_a_lack_of_local_resources(patch: Patch) -> None:
    """A connect that fails for a lack of local resources counts as `connect_failed`, so the instance is ejected."""
    from eas_tw.net import pool  # noqa: PLC0415

    outcome_of, local = pool.connect_outcome, AttemptStatus.LOCAL_RESOURCE  # type: ignore[attr-defined]

    def blame(error: Any) -> Outcome:
        found = outcome_of(error)
        return Outcome(AttemptStatus.CONNECT_FAILED, detail=found.detail) if found.attempt_status is local else found

    patch(pool, "connect_outcome", blame)


@bug("date-is-wall-time", seeds=100)
def date_from_the_monotonic_clock(patch: Patch) -> None:
    """The `Date` of a signature is the time of the reactor's clock instead of the wall clock."""
    real = PredictClient.predict

    def predict(self: PredictClient, *given: Any, **named: Any) -> Any:
        self._request_builder._seconds = self._reactor.seconds  # type: ignore[attr-defined]
        return real(self, *given, **named)

    patch(PredictClient, "predict", predict)
