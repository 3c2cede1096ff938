"""Bugs of ejections: their instances, reasons and lengths; one bug for each rule of the reference page."""

from __future__ import annotations

from typing import Any

from eas_tw.policy import health
from eas_tw.policy.health import FAILURES, Health
from eas_tw.policy.outcomes import AttemptStatus
from tests.simulation.planted.bugs import Patch, bug


@bug("ejection-forgotten ejected-at-once", "discovery", 60)
def ejection_survives_leaving_the_list(patch: Patch) -> None:
    """An instance that joins the list again is still ejected, although a new instance may have the same address."""

    def keep(self: Health, keys: Any) -> Any:
        self._fleet = dict.fromkeys(keys)
        out = [key for key in self.ejected if key in self._fleet and not self.records[key].is_certain]
        surplus = self._number_out() - self._allowed()
        return self._bring_back(out[:surplus]) if surplus > 0 else ()

    patch(Health, "set_fleet", keep)


@bug("one-probe", seeds=100)
def ejection_does_not_double(patch: Patch) -> None:
    eject = Health._eject

    def anew(self: Health, record: Any, now: float, *, is_certain: bool) -> bool:
        known, record.ejections = record.ejections, 0
        found = eject(self, record, now, is_certain=is_certain)
        record.ejections = known + found
        return found

    patch(Health, "_eject", anew)


@bug("ejected-at-once")
def failed_connect_does_not_eject_at_once(patch: Patch) -> None:
    """A failed connect counts as one of `eject_after` failures."""
    patch(health, "CONNECT_FAILURES", frozenset())


@bug("ejected-at-once")
def failures_in_a_row_do_not_eject(patch: Patch) -> None:
    """Only failed connects eject an instance."""
    init = Health.__init__

    def patient(self: Health, policy: Any, rng: Any) -> None:
        init(self, policy, rng)
        object.__setattr__(self._policy, "eject_after", 10**9)

    patch(Health, "__init__", patient)


@bug("ejection-reason")
def one_failure_ejects(patch: Patch) -> None:
    init = Health.__init__

    def hasty(self: Health, policy: Any, rng: Any) -> None:
        init(self, policy, rng)
        object.__setattr__(self._policy, "eject_after", 1)

    patch(Health, "__init__", hasty)


@bug("ejection-reason", seeds=100)
def full_queue_counts_as_a_failure(patch: Patch) -> None:
    """The statuses 450 and 429 count as failures of the instance."""
    against = health.speaks_against
    patch(health, "speaks_against", lambda outcome: outcome.status in (429, 450) or against(outcome))


@bug("ejection-reason", seeds=100)
def stale_connection_counts_as_a_failure(patch: Patch) -> None:
    patch(health, "FAILURES", FAILURES | {AttemptStatus.STALE, AttemptStatus.UNSENT})


@bug("ejected-at-once", seeds=100)
def server_errors_do_not_count_as_failures(patch: Patch) -> None:
    patch(health, "_SERVER_ERROR", range(0))
