"""Passive ejection of instances, modelled on Envoy's outlier detection.

Two kinds of evidence are distinguished:

- *Certain*: no connection can be made, or the instance is silent (it has sent nothing for a call for far longer than
  responses take, while other instances answered). One such failure ejects the instance, for 1 s at first. The number of
  these ejections is not limited, because a call sent to such an instance could only wait or fail.
- *Doubtful*: error statuses, lost and truncated connections, timeouts, slow outliers. `eject_after` failures in a row
  eject the instance for `eject_base_s`. At most `max_ejected_ratio` of the fleet is ejected at a time, because a
  doubtful instance is better than too few instances (cf. Envoy's panic threshold). Envoy's default is 10 %. The default
  here is 50 %, because EAS lists often have 2-9 instances.

Each further ejection in a row lasts twice as long, with jitter, up to a bound. Afterwards the instance is half open: it
gets one call, the probe, and no second call until the probe's result is known. A successful response deletes the record
of failures. A failure ejects the instance again immediately, for longer. A response to a call that was sent after the
ejection began ends the ejection early. If the ejection was for silence, a response to an older call ends it, too.

A *suspect* is an instance with an overdue call that has sent nothing since that call was sent. It gets no more calls
until the overdue call receives a first byte or ends. No health transition is reported for a suspect.

The only instance of a list is never ejected. Records are stored by ip and port, so a discovery poll does not delete
them. This module does not call the balancer; it returns the changes.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING

from attrs import frozen

from eas_tw.policy.outcomes import ANSWERED, CONNECT_FAILURES, AttemptStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from eas_tw.policy.outcomes import Outcome

Key = tuple[str, int]

FAILURES = CONNECT_FAILURES | {
    AttemptStatus.LOST,
    AttemptStatus.RESPONSE_TRUNCATED,
    AttemptStatus.ATTEMPT_TIMEOUT,
    AttemptStatus.UNRESPONSIVE,
    AttemptStatus.DEADLINE,
    AttemptStatus.VIOLATION,
}
"""Attempt statuses that count against the instance.

A full queue (450) and a rate limit (429) are not failures, because a healthy instance sends them.
"""

SILENT = "silent"
"""The reported reason when an instance is ejected because it sent nothing while other instances answered."""

_SILENCES = frozenset({AttemptStatus.ATTEMPT_TIMEOUT, AttemptStatus.UNRESPONSIVE, AttemptStatus.DEADLINE})
_SERVER_ERROR = range(500, 600)
# The length of an ejection is multiplied by 1 to 1.5, so that many clients do not probe an instance simultaneously.
_JITTER = 0.5
# The duration is short, because one probe a second costs little, and a recovered instance should get calls again soon.
_CERTAIN_BASE_S = 1.0


@frozen
class HealthPolicy:
    """The settings of ejections; defaults and units are those of `ClientConfig`."""

    eject_after: int = 5
    eject_base_s: float = 30.0
    eject_max_s: float = 60.0
    max_ejected_ratio: float = 0.5


class HealthChange(Enum):
    """The change that an outcome causes for its instance."""

    EJECTED = auto()
    """The instance is left out from now on."""
    RETURNED = auto()
    """The instance has answered after an ejection, and takes part again."""
    OVERFLOW = auto()
    """The instance was not ejected, although its failures require it, because too many are ejected already."""
    KEPT = auto()
    """The probe failed, and the instance takes part again because too many are ejected already."""
    UNDECIDED = auto()
    """The probe ended without a result, such as by a cancel; the instance gets another probe."""
    CLEARED = auto()
    """The instance is no longer a suspect."""


class HealthState(Enum):
    """The state of an instance that has failed lately or is overdue."""

    COUNTED = auto()
    """The instance takes part; its failures are counted."""
    SUSPECT = auto()
    """A call of the instance is overdue; it gets no other call until the overdue call has a result."""
    EJECTED = auto()
    """The instance gets no calls until the ejection ends."""
    HALF_OPEN = auto()
    """The instance takes part for one call, the probe."""
    PROBING = auto()
    """The probe is running; the instance gets no other call."""


_OUT = frozenset({HealthState.SUSPECT, HealthState.EJECTED, HealthState.PROBING})
_OPEN = frozenset({HealthState.SUSPECT, HealthState.PROBING})


class _Record:
    """The health record of one instance.

    Attributes:
        since: The time at which the state began; for a suspect, the send time of the first overdue call.
        until: The time at which the ejection ends.
        pending: The send times of the running calls whose outcome can end a suspicion or a probe. It is a set because
            `resort` and `suspect` may both add the same call, which ends only once.
        watched: The send time of the attempt that is watched after its call has ended; `None` when no attempt is
            watched.
        tried_at: The time at which the instance got its last call, or was ejected; updated only while the instance is
            left out.
        is_certain: Whether the last ejection had certain evidence, to which `max_ejected_ratio` does not apply.
        is_silent: Whether the last ejection was for silence.
        is_slow: Whether a probe may take long to fail, because the last ejection was for silence or a connect timeout.
        is_overflow: Whether the limit of ejections has prevented an ejection of the instance since its last ejection or
            successful response.
    """

    __slots__ = (
        "ejections", "failures", "is_certain", "is_overflow", "is_silent", "is_slow", "pending", "since", "state",
        "tried_at", "until", "watched",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state = HealthState.COUNTED
        self.failures = self.ejections = 0
        self.pending: set[float] = set()
        self.watched: float | None = None
        self.since = self.until = self.tried_at = 0.0
        self.is_certain = self.is_silent = self.is_slow = self.is_overflow = False

    def open(self, state: HealthState, since: float) -> None:
        """Enter the state `SUSPECT` or `PROBING`, which the result of the call sent at `since` will end."""
        self.state, self.since, self.tried_at = state, since, since
        self.pending, self.watched = {since}, None

    @property
    def is_blank(self) -> bool:
        """Whether the record is that of an instance without failures, so that it can be deleted."""
        return self.state is HealthState.COUNTED and not (self.failures or self.ejections or self.is_overflow)

    @property
    def is_undecided(self) -> bool:
        """Whether no running or watched call can end the state."""
        return not self.pending and self.watched is None


class Health:
    """The health records of the instances that failed lately or are overdue; all other instances take part.

    Attributes:
        half_open: Instances whose ejection is over and whose probe has not been sent. Empty in the usual case.
        next_return: The time at which the next ejection ends; `None` when no instance is ejected.
        records: The records of instances that failed lately or are overdue. Other modules only test it for emptiness.
    """

    def __init__(self, policy: HealthPolicy, rng: Random) -> None:
        self.half_open: dict[Key, None] = {}
        self._policy = policy
        self._rng = rng
        self._fleet: dict[Key, None] = {}
        self.records: dict[Key, _Record] = {}
        self._answered_at = -math.inf
        self.next_return: float | None = None

    @property
    def left_out(self) -> tuple[Key, ...]:
        """The instances that get no calls while another instance takes part, the longest untried first.

        Suspects are sorted like the other instances. If suspects came first while all instances are down, every call
        would be sent to an instance that does not respond, and would wait.
        """
        out = [(record.tried_at, key) for key, record in self.records.items() if record.state in _OUT]
        return tuple(key for _, key in sorted(out))

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances in `left_out` that are ejected or probed, without the suspects."""
        return tuple(key for key in self.left_out if self.records[key].state is not HealthState.SUSPECT)

    @property
    def is_wary(self) -> bool:
        """Whether an instance may be silent: it is a suspect, or was ejected for silence or a connect timeout."""
        return any(record.is_slow or record.state is HealthState.SUSPECT for record in self.records.values())

    def is_out(self, key: Key) -> bool:
        """Return whether an instance gets no calls at the moment."""
        record = self.records.get(key)
        return record is not None and record.state in _OUT

    def is_silent(self, key: Key) -> bool:
        """Return whether an instance was ejected for silence."""
        record = self.records.get(key)
        return record is not None and record.is_silent

    def is_probe(self, key: Key, began: float) -> bool:
        """Return whether the call that was sent to an instance at `began` is its probe."""
        record = self.records.get(key)
        return record is not None and record.state is HealthState.PROBING and record.since == began

    def set_fleet(self, keys: Iterable[Key]) -> None:
        """Replace the list, and delete the records of instances that left it.

        If more instances are left out than the new list allows, instances that were ejected on doubtful evidence become
        half open until the surplus is gone.
        """
        self._fleet = dict.fromkeys(keys)
        for key in [key for key in self.records if key not in self._fleet]:
            del self.records[key]
            self.half_open.pop(key, None)
        surplus = self._number_out() - self._allowed()
        is_sole = len(self._fleet) == 1
        for key, record in list(self.records.items()):
            if is_sole and record.state is HealthState.SUSPECT:
                record.state = HealthState.COUNTED
                self._drop_blank(key, record)
        doubtful = [key for key in self.ejected if is_sole or not self.records[key].is_certain]
        if surplus > 0:
            self._bring_back(doubtful[:surplus])

    def record(self, key: Key, outcome: Outcome, now: float, began: float = math.inf) -> HealthChange | None:
        """Record how an attempt ended.

        Args:
            key: Ip and port of the instance.
            outcome: How the attempt ended.
            now: The time in seconds of the caller's clock. For an answered attempt `now` may be the time at which the
                attempt began.
            began: The time at which the attempt was sent, on the same clock; the default is later than every other
                time.

        Returns:
            The change for the instance; `None` when nothing changed.
        """
        if outcome is ANSWERED and not self.records:
            return None
        began = min(now, began)
        if outcome is ANSWERED:
            self._answered_at = max(self._answered_at, began)
        if speaks_against(outcome):
            return self._blame(key, outcome, now, began) if key in self._fleet else None
        record = self.records.get(key)
        if record is None:
            return None
        if _speaks_for(outcome):
            return self._hear(key, record, began)
        return self._end_one(key, record, began)

    def eject(self, key: Key, now: float) -> bool:
        """Eject an instance for a doubtful reason other than failures in a row.

        Returns:
            Whether the instance was ejected; `False` when it is left out already, or too many instances are left out.
        """
        record = self.records.setdefault(key, _Record())
        if record.state in _OUT or not self._eject(record, now, is_certain=False):
            self._drop_blank(key, record)
            return False
        self.half_open.pop(key, None)
        return True

    def suspect(self, key: Key, began: float) -> bool:
        """Record that a call sent to an instance at `began` is overdue; return whether it becomes a suspect."""
        if key not in self._fleet or len(self._fleet) == 1 or not self._policy.max_ejected_ratio:
            return False
        record = self.records.setdefault(key, _Record())
        if record.state is HealthState.SUSPECT:
            # Overdue calls are not reported in the order in which they were sent.
            record.since = min(record.since, began)
            record.pending.add(began)
        if record.state is not HealthState.COUNTED:
            return False
        record.open(HealthState.SUSPECT, began)
        return True

    def watch(self, key: Key, began: float) -> bool:
        """Register an overdue attempt whose outcome shall count for its instance after its call has ended.

        Args:
            key: Ip and port of the instance.
            began: The time at which the attempt was sent, in seconds of the caller's clock.

        Returns:
            Whether the outcome can still change the instance's state. If so, pass the outcome to `record`, then call
            `unwatch`.
        """
        record = self.records.get(key)
        if record is None or record.state not in _OPEN or began < record.since or record.watched is not None:
            return False
        record.watched = began
        return True

    def unwatch(self, key: Key, began: float) -> HealthChange | None:
        """Remove an attempt that `watch` accepted; return the change that this causes, or `None`."""
        record = self.records.get(key)
        if record is None or record.watched != began:
            return None
        record.watched = None
        return self._decide_nothing(key, record)

    def returning(self, now: float) -> tuple[Key, ...]:
        """Make each instance whose ejection has ended by `now` half open, and return these instances."""
        if self.next_return is None or now < self.next_return:
            return ()
        return self._bring_back(
            [key for key, record in self.records.items() if record.state is HealthState.EJECTED and record.until <= now]
        )

    def probe(self, key: Key, now: float) -> None:
        """Record that the probe of a half-open instance was sent at `now`."""
        del self.half_open[key]
        record = self.records[key]
        record.open(HealthState.PROBING, now)

    def resort(self, key: Key, now: float) -> None:
        """Record that a call was sent at `now` to a left-out instance, because no other instance was left.

        The result of this call counts, in addition to that of a probe or an overdue call.
        """
        record = self.records[key]
        record.pending.add(now)
        record.tried_at = now

    def _blame(self, key: Key, outcome: Outcome, now: float, began: float) -> HealthChange | None:
        record = self.records.setdefault(key, _Record())
        before = record.state
        record.failures += 1
        if before is HealthState.EJECTED or (before is HealthState.PROBING and began < record.since):
            # An ejected instance stays ejected, and a probe's result is newer than that of a call sent before it.
            return None
        is_silent = before in _OPEN and self._is_silence(record, outcome, began)
        is_certain = is_silent or outcome.attempt_status in CONNECT_FAILURES
        # A timeout does not end a suspicion while another call to the suspect is running.
        is_open = before is HealthState.SUSPECT and outcome.attempt_status in _SILENCES
        record.state = HealthState.COUNTED
        self.half_open.pop(key, None)
        if not is_certain and not record.ejections and record.failures < self._policy.eject_after:
            return self._take_part(key, record, before, began, is_open=is_open)
        if self._eject(record, now, is_certain=is_certain):
            record.is_silent = is_silent
            record.is_slow = is_silent or outcome.attempt_status is AttemptStatus.CONNECT_TIMEOUT
            return HealthChange.EJECTED
        # Too few instances would take part, so this one is not ejected.
        is_new, record.is_overflow = not record.is_overflow, self._may_eject
        if before is HealthState.COUNTED:
            return HealthChange.OVERFLOW if is_new and self._may_eject else None
        if before is HealthState.SUSPECT:
            return self._take_part(key, record, before, began, is_open=is_open)
        return HealthChange.KEPT

    def _take_part(
        self, key: Key, record: _Record, before: HealthState, began: float, *, is_open: bool
    ) -> HealthChange | None:
        """Update the state of an instance after a failure for which it is not ejected."""
        if is_open:
            record.state = HealthState.SUSPECT
            return self._end_one(key, record, began)
        return HealthChange.CLEARED if before is HealthState.SUSPECT else None

    def _is_silence(self, record: _Record, outcome: Outcome, began: float) -> bool:
        """Return whether a failed call shows silence, because an instance answered a call that was sent later."""
        return outcome.attempt_status in _SILENCES and began >= record.since and self._answered_at > began

    def _hear(self, key: Key, record: _Record, began: float) -> HealthChange | None:
        """Delete the record of an instance that has answered; return the change that this causes."""
        if record.state is HealthState.EJECTED and not (record.is_silent or began >= record.since):
            # The call was sent before the ejection, and even a process that is shutting down answers its open calls.
            return None
        del self.records[key]
        self.half_open.pop(key, None)
        if record.state is HealthState.EJECTED:
            self._schedule()
        if record.state is HealthState.COUNTED:
            return None
        return HealthChange.CLEARED if record.state is HealthState.SUSPECT else HealthChange.RETURNED

    def _end_one(self, key: Key, record: _Record, began: float) -> HealthChange | None:
        """Remove a call without a result from the pending calls of a suspicion or a probe."""
        if record.state not in _OPEN or began not in record.pending:
            return None
        record.pending.remove(began)
        return self._decide_nothing(key, record)

    def _decide_nothing(self, key: Key, record: _Record) -> HealthChange | None:
        """End a suspicion or a probe without a result if no running or watched call can decide it."""
        if record.state not in _OPEN or not record.is_undecided:
            return None
        if record.state is HealthState.SUSPECT:
            record.state = HealthState.COUNTED
            self._drop_blank(key, record)
            return HealthChange.CLEARED
        record.state = HealthState.HALF_OPEN
        self.half_open[key] = None
        return HealthChange.UNDECIDED

    def _drop_blank(self, key: Key, record: _Record) -> None:
        if record.is_blank:
            del self.records[key]

    def _eject(self, record: _Record, now: float, *, is_certain: bool) -> bool:
        if not self._may_eject or not (is_certain or self._number_out() < self._allowed()):
            return False
        base_s = _CERTAIN_BASE_S if is_certain else self._policy.eject_base_s
        length = min(base_s * 2**record.ejections, max(base_s, self._policy.eject_max_s))
        record.state, record.since, record.tried_at = HealthState.EJECTED, now, now
        record.until = now + length * (1.0 + _JITTER * self._rng.random())
        # The limit of 16 bounds the power of two above; `eject_max_s` is reached after far fewer ejections.
        record.ejections = min(record.ejections + 1, 16)
        record.is_certain = is_certain
        record.is_silent = record.is_slow = record.is_overflow = False
        self._schedule()
        return True

    def _bring_back(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        back = tuple(keys)
        for key in back:
            self.records[key].state = HealthState.HALF_OPEN
            self.half_open[key] = None
        self._schedule()
        return back

    def _schedule(self) -> None:
        ends = [record.until for record in self.records.values() if record.state is HealthState.EJECTED]
        self.next_return = min(ends, default=None)

    @property
    def _may_eject(self) -> bool:
        return len(self._fleet) > 1 and self._policy.max_ejected_ratio > 0

    def _number_out(self) -> int:
        return sum(record.state in _OUT for record in self.records.values())

    def _allowed(self) -> int:
        """Return the number of instances that may be left out on doubtful evidence."""
        return int(len(self._fleet) * self._policy.max_ejected_ratio) if self._may_eject else 0


def speaks_against(outcome: Outcome) -> bool:
    """Return whether an outcome counts as a failure of the instance."""
    return outcome.attempt_status in FAILURES or (
        outcome.attempt_status is AttemptStatus.STATUS and outcome.status in _SERVER_ERROR
    )


def _speaks_for(outcome: Outcome) -> bool:
    return outcome.attempt_status in (AttemptStatus.ANSWERED, AttemptStatus.STATUS)
