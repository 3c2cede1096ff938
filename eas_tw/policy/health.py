"""Passive ejection of instances, modelled on Envoy's outlier detection.

Two kinds of evidence are distinguished:

- *Certain*: no connection can be made, or the instance is silent (it has sent nothing for a call for far longer than
  responses take, while other instances answered). One such failure ejects, for 1 s at first. Any number of instances
  may be ejected for it, because a call sent there could only wait or fail.
- *Doubtful*: error statuses, lost and truncated connections, timeouts, slow outliers. `eject_after` failures in a row
  eject, for `eject_base_s`. At most a share of the fleet is ejected at a time (a panic threshold: a doubtful instance
  is better than too few). Where Envoy stops at 10 %, the default here is half, because EAS lists often hold 2-9
  instances.

Each further ejection in a row lasts twice as long, with jitter, up to a bound. Afterwards the instance is half open: it
gets one call, the probe, and no second call until the probe's result is known. A good answer resets the record; a
failure ejects the instance again at once, for longer. An answer to a call that was sent after the ejection began ends
the ejection early.

A *suspect* is an instance with an overdue call that has sent nothing since. It gets no more calls until that call is
decided. Suspicion is not announced, lasts as long as the call is open, and ends with the first byte.

A list of one instance never ejects. Records are kept by ip and port, so they survive polls. This module does not know
the balancer: it returns what changed.
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

A full queue (450) and a rate limit (429) are not among them, because they are the answers of a healthy instance.
"""

SILENT = "silent"
"""The reason given when an instance is ejected that sent nothing while others answered."""

_SILENCES = frozenset({AttemptStatus.ATTEMPT_TIMEOUT, AttemptStatus.UNRESPONSIVE, AttemptStatus.DEADLINE})
_SERVER_ERROR = range(500, 600)
# The length of an ejection is multiplied by 1 to 1.5, so that clients do not probe an instance all at once.
_JITTER = 0.5
# Short, because one probe a second costs little, and the return of the instance should be noticed soon.
_CERTAIN_BASE_S = 1.0


@frozen
class HealthPolicy:
    """When an instance is ejected and for how long; defaults and units are those of `ClientConfig`."""

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
    """The instance should be ejected, and is not, because too many are already."""
    KEPT = auto()
    """The probe failed, and the instance takes part again because too many are ejected already."""
    UNDECIDED = auto()
    """The probe ended without a result, and no other call decided; the instance gets another probe."""
    CLEARED = auto()
    """The instance is no longer a suspect."""


class HealthState(Enum):
    """The state of an instance that has failed lately or is overdue."""

    COUNTED = auto()
    """The instance takes part; its failures are counted."""
    SUSPECT = auto()
    """A call of the instance is overdue; it gets no other call until that one is decided."""
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
        since: When its state began; for a suspect, when the first of its overdue calls was sent.
        until: When the ejection ends.
        pending: The times at which the running calls were sent that may decide a suspicion or a probe. It is a set
            because `resort` and `suspect` may add one call twice, and a call ends once.
        watched: When the attempt was sent that is watched after its call has ended; `None` for none.
        tried_at: When the instance got its last call, or was ejected; kept only while it is left out.
        is_certain: Whether the last ejection had certain evidence, to which `max_ejected_ratio` does not apply.
        is_silent: Whether that evidence was silence.
        is_slow: Whether its probe may take long to fail: after silence, or after a connect timeout.
        is_overflow: Whether an ejection was refused since the last good answer.
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
        """Enter a state that is decided by the call sent at `since`."""
        self.state, self.since, self.tried_at = state, since, since
        self.pending, self.watched = {since}, None

    @property
    def is_undecided(self) -> bool:
        """Whether no running or watched call is left that could decide."""
        return not self.pending and self.watched is None


class Health:
    """The health records of all instances that failed lately; an instance without a record takes part.

    Attributes:
        half_open: Instances whose ejection is over and whose probe has not been sent. Empty in the usual case.
        next_return: When the next ejection ends; `None` when no instance is ejected.
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
        """The instances that get no calls while another takes part, the longest untried first.

        Suspects have no precedence: when all instances are dead, every call would go to the ones that keep it waiting.
        """
        out = [(record.tried_at, key) for key, record in self.records.items() if record.state in _OUT]
        return tuple(key for _, key in sorted(out))

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances in `left_out` that are ejected or probed, without the suspects."""
        return tuple(key for key in self.left_out if self.records[key].state is not HealthState.SUSPECT)

    @property
    def is_wary(self) -> bool:
        """Whether an instance is suspected of silence, or was ejected for a failure that a probe shows late."""
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

        If the new list allows fewer uncertain ejections, the surplus of ejected instances becomes half open.
        """
        self._fleet = dict.fromkeys(keys)
        for key in [key for key in self.records if key not in self._fleet]:
            del self.records[key]
            self.half_open.pop(key, None)
        surplus = self._number_out() - self._allowed()
        is_sole = len(self._fleet) == 1
        for record in self.records.values():
            if is_sole and record.state is HealthState.SUSPECT:
                record.state = HealthState.COUNTED
        doubtful = [key for key in self.ejected if is_sole or not self.records[key].is_certain]
        if surplus > 0:
            self._bring_back(doubtful[:surplus])

    def record(self, key: Key, outcome: Outcome, now: float, began: float = math.inf) -> HealthChange | None:
        """Record how an attempt ended.

        Args:
            key: Ip and port of the instance.
            outcome: How the attempt ended.
            now: Seconds of the caller's clock. For an answered attempt the time at which it began is enough.
            began: When the attempt was sent; by default taken to be `now`.

        Returns:
            The change for the instance; `None` when there is none.
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
            Whether it was ejected; `False` when it is left out already, or too many are.
        """
        record = self.records.setdefault(key, _Record())
        if record.state in _OUT or not self._eject(record, now, is_certain=False):
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
        """Let an overdue attempt decide about its instance after its call has ended.

        Args:
            key: Ip and port of the instance.
            began: When the attempt was sent, in seconds of the caller's clock.

        Returns:
            Whether the attempt can still decide. If so, call `record` with its outcome and then `unwatch`.
        """
        record = self.records.get(key)
        if record is None or record.state not in _OPEN or began < record.since or record.watched is not None:
            return False
        record.watched = began
        return True

    def unwatch(self, key: Key, began: float) -> HealthChange | None:
        """End the watch of an attempt that `watch` accepted; return the change this causes."""
        record = self.records.get(key)
        if record is None or record.watched != began:
            return None
        record.watched = None
        return self._decide_nothing(key, record)

    def returning(self, now: float) -> tuple[Key, ...]:
        """Return the instances whose ejection has ended by `now`, each once; they are half open from then on."""
        if self.next_return is None or now < self.next_return:
            return ()
        return self._bring_back(
            [key for key, record in self.records.items() if record.state is HealthState.EJECTED and record.until <= now]
        )

    def probe(self, key: Key, now: float) -> None:
        """Record that a half-open instance has been given its probe at `now`."""
        del self.half_open[key]
        record = self.records[key]
        record.open(HealthState.PROBING, now)

    def resort(self, key: Key, now: float) -> None:
        """Record that a left-out instance got a call because no other was left; the call may decide, too."""
        record = self.records[key]
        record.pending.add(now)
        record.tried_at = now

    def _blame(self, key: Key, outcome: Outcome, now: float, began: float) -> HealthChange | None:
        record = self.records.setdefault(key, _Record())
        before = record.state
        record.failures += 1
        if before is HealthState.EJECTED or (before is HealthState.PROBING and began < record.since):
            # A call sent before the ejection or the probe is older evidence than the state rests on.
            return None
        is_silent = before in _OPEN and self._is_silence(record, outcome, began)
        is_certain = is_silent or outcome.attempt_status in CONNECT_FAILURES
        # A silent suspect stays a suspect while another of its calls is running.
        is_open = before is HealthState.SUSPECT and outcome.attempt_status in _SILENCES
        record.state = HealthState.COUNTED
        self.half_open.pop(key, None)
        if not is_certain and not record.ejections and record.failures < self._policy.eject_after:
            return self._take_part(key, record, before, began, is_open=is_open)
        if self._eject(record, now, is_certain=is_certain):
            record.is_silent = is_silent
            record.is_slow = is_silent or outcome.attempt_status is AttemptStatus.CONNECT_TIMEOUT
            return HealthChange.EJECTED
        # Too few would take part: the instance is not ejected.
        is_new, record.is_overflow = not record.is_overflow, self._may_eject
        if before is HealthState.COUNTED:
            return HealthChange.OVERFLOW if is_new and self._may_eject else None
        if before is HealthState.SUSPECT:
            return self._take_part(key, record, before, began, is_open=is_open)
        return HealthChange.KEPT

    def _take_part(
        self, key: Key, record: _Record, before: HealthState, began: float, *, is_open: bool
    ) -> HealthChange | None:
        """Leave the instance in the fleet after a failure that does not eject it."""
        if is_open:
            record.state = HealthState.SUSPECT
            return self._end_one(key, record, began)
        return HealthChange.CLEARED if before is HealthState.SUSPECT else None

    def _is_silence(self, record: _Record, outcome: Outcome, began: float) -> bool:
        """Return whether the failed call was silence: an instance answered a call that was sent later than this one."""
        return outcome.attempt_status in _SILENCES and began >= record.since and self._answered_at > began

    def _hear(self, key: Key, record: _Record, began: float) -> HealthChange | None:
        """Delete the record of an instance that has answered, since it is neither dead nor silent."""
        if record.state is HealthState.EJECTED and not (record.is_silent or began >= record.since):
            # Sent before the ejection: a process that drains still answers the calls it has.
            return None
        del self.records[key]
        self.half_open.pop(key, None)
        if record.state is HealthState.EJECTED:
            self._schedule()
        if record.state is HealthState.COUNTED:
            return None
        return HealthChange.CLEARED if record.state is HealthState.SUSPECT else HealthChange.RETURNED

    def _end_one(self, key: Key, record: _Record, began: float) -> HealthChange | None:
        """Remove a call that ended without a result from those that might decide."""
        if record.state not in _OPEN or began not in record.pending:
            return None
        record.pending.remove(began)
        return self._decide_nothing(key, record)

    def _decide_nothing(self, key: Key, record: _Record) -> HealthChange | None:
        """End a suspicion or a probe when no running or watched call can decide it any more."""
        if record.state not in _OPEN or not record.is_undecided:
            return None
        if record.state is HealthState.SUSPECT:
            record.state = HealthState.COUNTED
            return HealthChange.CLEARED
        record.state = HealthState.HALF_OPEN
        self.half_open[key] = None
        return HealthChange.UNDECIDED

    def _eject(self, record: _Record, now: float, *, is_certain: bool) -> bool:
        if not self._may_eject or not (is_certain or self._number_out() < self._allowed()):
            return False
        base_s = _CERTAIN_BASE_S if is_certain else self._policy.eject_base_s
        length = min(base_s * 2**record.ejections, max(base_s, self._policy.eject_max_s))
        record.state, record.since, record.tried_at = HealthState.EJECTED, now, now
        record.until = now + length * (1.0 + _JITTER * self._rng.random())
        # A bound for the power of two above; by then `eject_max_s` has long been reached.
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
    """Return whether an outcome counts as the instance's failure."""
    return outcome.attempt_status in FAILURES or (
        outcome.attempt_status is AttemptStatus.STATUS and outcome.status in _SERVER_ERROR
    )


def _speaks_for(outcome: Outcome) -> bool:
    return outcome.attempt_status in (AttemptStatus.ANSWERED, AttemptStatus.STATUS)
