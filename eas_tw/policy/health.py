"""Which instances are left out for a while: passive ejection, as Envoy's outlier detection does it.

Two kinds of evidence are told apart.

- *Certain*: no connection can be made, or the instance is silent: it has said nothing to a call for far longer than
  answers take, while other instances answered. One such failure ejects, for 1 s at first, and any number of instances
  may be out for it: a call sent there could only wait or fail.
- *Doubtful*: error statuses, lost and cut connections, timeouts, slow outliers. `eject_after` in a row eject, for
  `eject_base_s`, and at most a share of the fleet is left out at a time (panic: better a doubtful instance than too
  few). Where Envoy stops at 10 %, the default here is half: EAS lists often hold 2-9 instances.

Each ejection in a row lasts twice as long, with jitter, up to a bound. When it is over the instance is half open: it
gets one call, the probe. A good answer forgets the past, another failure ejects it again at once, for longer; until one
of them is known it gets no second. An answer to a call sent since the ejection began ends it early.

A *suspect* has a call that is overdue, and has said nothing since: it gets no more calls until that one is decided.
Suspicion is not announced, holds for as long as a call is open, and ends with the first word.

Lists of one never eject. State is kept by ip and port, so it survives polls. Knows no rotation: it answers with what
changed.
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
"""Conditions that speak against the instance; a full queue (450) and a rate limit (429) never do."""

SILENT = "silent"
"""Why an instance was ejected that has said nothing while others answered."""

_SILENCES = frozenset({AttemptStatus.ATTEMPT_TIMEOUT, AttemptStatus.UNRESPONSIVE, AttemptStatus.DEADLINE})
_SERVER_ERROR = range(500, 600)
_JITTER = 0.5
_CERTAIN_BASE_S = 1.0


@frozen
class HealthPolicy:
    """When an instance is ejected and for how long; the defaults and units are those of `ClientConfig`."""

    eject_after: int = 5
    eject_base_s: float = 30.0
    eject_max_s: float = 60.0
    max_ejected_ratio: float = 0.5


class HealthChange(Enum):
    """What an outcome changed for its instance."""

    EJECTED = auto()
    """It is left out from now on."""
    RETURNED = auto()
    """It has answered: it takes part like any other."""
    OVERFLOW = auto()
    """It should be left out, and is not, because too many are already."""
    KEPT = auto()
    """The same after a probe: it takes part again although the probe failed."""
    UNDECIDED = auto()
    """Its probe told nothing, nor did who came to it meanwhile: it gets another."""
    CLEARED = auto()
    """It is suspected no more."""


class HealthState(Enum):
    """Where an instance stands that has failed lately or is overdue."""

    COUNTED = auto()
    """It takes part; its failures are counted."""
    SUSPECT = auto()
    """A call there is overdue; no other goes there until that is decided."""
    EJECTED = auto()
    """It gets no calls until a time."""
    HALF_OPEN = auto()
    """It takes part for one call, the probe."""
    PROBING = auto()
    """The probe is under way, and no other call goes there."""


_OUT = frozenset({HealthState.SUSPECT, HealthState.EJECTED, HealthState.PROBING})
_OPEN = frozenset({HealthState.SUSPECT, HealthState.PROBING})


class _Record:
    """What is known of an instance.

    Attributes:
        since: When its state began; of a suspect when the first of its overdue calls was sent.
        until: When the ejection ends.
        pending: When the calls under way were sent that may decide a suspicion or a probe. A set: a call may be added
            twice, by `resort` and by `suspect`, and ends once.
        watched: When the call was sent of which a rest is listened to, for the same reason; `None` for no such call.
        tried_at: When it was given a call last, as far as that matters.
        is_certain: Whether the last ejection had certain evidence, which no bound applies to.
        is_silent: Whether that was silence.
        is_slow: Whether its probe may take long to fail: silence, or a handshake that is not answered.
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
        """Enter a state that the call decides which was sent at `since`."""
        self.state, self.since, self.tried_at = state, since, since
        self.pending, self.watched = {since}, None

    @property
    def is_undecided(self) -> bool:
        """Whether nothing is under way that could still decide."""
        return not self.pending and self.watched is None


class Health:
    """The record of every instance that failed lately; those without a record are well.

    Attributes:
        half_open: Instances whose ejection is over and whose probe has not been sent; nothing when all is well.
        next_return: When the next ejection ends; `None` when nobody is ejected.
        records: What is known of those that failed lately, or are overdue; empty when all is well. Others only
            ask whether it is.
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
        """The instances that get no calls while another is well, the longest untried first.

        Not suspects first: when all are dead, every call would go to those that keep it waiting.
        """
        out = [(record.tried_at, key) for key, record in self.records.items() if record.state in _OUT]
        return tuple(key for _, key in sorted(out))

    @property
    def ejected(self) -> tuple[Key, ...]:
        """Those of them that were ejected and have not returned."""
        return tuple(key for key in self.left_out if self.records[key].state is not HealthState.SUSPECT)

    @property
    def is_wary(self) -> bool:
        """Whether an instance is suspected of silence, or ejected for what its probe would take long to find."""
        return any(record.is_slow or record.state is HealthState.SUSPECT for record in self.records.values())

    def is_out(self, key: Key) -> bool:
        """Whether an instance gets no calls at the moment."""
        record = self.records.get(key)
        return record is not None and record.state in _OUT

    def is_silent(self, key: Key) -> bool:
        """Whether an instance was ejected for silence."""
        record = self.records.get(key)
        return record is not None and record.is_silent

    def is_probe(self, key: Key, began: float) -> bool:
        """Whether the call that was sent to an instance at `began` is its probe."""
        record = self.records.get(key)
        return record is not None and record.state is HealthState.PROBING and record.since == began

    def set_fleet(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Learn the current list; forget the rest.

        Returns:
            Instances that are half open because the fleet shrank below what may be left out of it in doubt.
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
        return self._bring_back(doubtful[:surplus]) if surplus > 0 else ()

    def record(self, key: Key, outcome: Outcome, now: float, began: float = math.inf) -> HealthChange | None:
        """Take note of how an attempt ended; what that changed, if anything.

        Args:
            key: Of its instance.
            outcome: How it ended.
            now: Seconds of the caller's clock; of an answer when it began will do.
            began: When it began, if `now` is not that.
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
        """Leave an instance out for another, doubtful reason than failures in a row; whether that is allowed."""
        record = self.records.setdefault(key, _Record())
        if record.state in _OUT or not self._eject(record, now, is_certain=False):
            return False
        self.half_open.pop(key, None)
        return True

    def suspect(self, key: Key, began: float) -> bool:
        """A call that was sent to an instance at `began` is overdue; whether the instance gets no more from now on."""
        if key not in self._fleet or len(self._fleet) == 1 or not self._policy.max_ejected_ratio:
            return False
        record = self.records.setdefault(key, _Record())
        if record.state is HealthState.SUSPECT:
            # Overdue calls are not noticed in the order in which they were sent.
            record.since = min(record.since, began)
            record.pending.add(began)
        if record.state is not HealthState.COUNTED:
            return False
        record.open(HealthState.SUSPECT, began)
        return True

    def watch(self, key: Key, began: float) -> bool:
        """Let what is left of an overdue attempt that was sent at `began` decide about its instance, too.

        Returns:
            Whether it is needed; `unwatch` is to be told of its end, after `record`.
        """
        record = self.records.get(key)
        if record is None or record.state not in _OPEN or began < record.since or record.watched is not None:
            return False
        record.watched = began
        return True

    def unwatch(self, key: Key, began: float) -> HealthChange | None:
        """What was told to `watch` is over."""
        record = self.records.get(key)
        if record is None or record.watched != began:
            return None
        record.watched = None
        return self._decide_nothing(key, record)

    def returning(self, now: float) -> tuple[Key, ...]:
        """The instances whose ejection has ended by `now`, half open from here on; each is named once."""
        if self.next_return is None or now < self.next_return:
            return ()
        return self._bring_back(
            [key for key, record in self.records.items() if record.state is HealthState.EJECTED and record.until <= now]
        )

    def probe(self, key: Key, now: float) -> None:
        """A half-open instance has been given its call."""
        del self.half_open[key]
        record = self.records[key]
        record.open(HealthState.PROBING, now)

    def resort(self, key: Key, now: float) -> None:
        """An instance that is left out has been given a call that has nowhere else to go; it may tell as much."""
        record = self.records[key]
        record.pending.add(now)
        record.tried_at = now

    def _blame(self, key: Key, outcome: Outcome, now: float, began: float) -> HealthChange | None:
        record = self.records.setdefault(key, _Record())
        before = record.state
        record.failures += 1
        if before is HealthState.EJECTED or (before is HealthState.PROBING and began < record.since):
            # What was sent before says nothing that is not known.
            return None
        is_silent = before in _OPEN and self._is_silence(record, outcome, began)
        is_certain = is_silent or outcome.attempt_status in CONNECT_FAILURES
        # A suspect that has still said nothing stays one while another of its calls is open.
        is_open = before is HealthState.SUSPECT and outcome.attempt_status in _SILENCES
        record.state = HealthState.COUNTED
        self.half_open.pop(key, None)
        if not is_certain and not record.ejections and record.failures < self._policy.eject_after:
            return self._take_part(key, record, before, began, is_open=is_open)
        if self._eject(record, now, is_certain=is_certain):
            record.is_silent = is_silent
            record.is_slow = is_silent or outcome.attempt_status is AttemptStatus.CONNECT_TIMEOUT
            return HealthChange.EJECTED
        # Too few would be left: it takes part like any other.
        is_new, record.is_overflow = not record.is_overflow, self._may_eject
        if before is HealthState.COUNTED:
            return HealthChange.OVERFLOW if is_new and self._may_eject else None
        if before is HealthState.SUSPECT:
            return self._take_part(key, record, before, began, is_open=is_open)
        return HealthChange.KEPT

    def _take_part(
        self, key: Key, record: _Record, before: HealthState, began: float, *, is_open: bool
    ) -> HealthChange | None:
        """A failure that ejects nobody."""
        if is_open:
            record.state = HealthState.SUSPECT
            return self._end_one(key, record, began)
        return HealthChange.CLEARED if before is HealthState.SUSPECT else None

    def _is_silence(self, record: _Record, outcome: Outcome, began: float) -> bool:
        """Whether others answered what they were sent after a suspect, or a probed one, had its call."""
        return outcome.attempt_status in _SILENCES and began >= record.since and self._answered_at > began

    def _hear(self, key: Key, record: _Record, began: float) -> HealthChange | None:
        """An instance has answered, so that it is neither dead nor silent."""
        if record.state is HealthState.EJECTED and not (record.is_silent or began >= record.since):
            # Sent before the ejection: a process that drains still answers what it has.
            return None
        del self.records[key]
        self.half_open.pop(key, None)
        if record.state is HealthState.EJECTED:
            self._schedule()
        if record.state is HealthState.COUNTED:
            return None
        return HealthChange.CLEARED if record.state is HealthState.SUSPECT else HealthChange.RETURNED

    def _end_one(self, key: Key, record: _Record, began: float) -> HealthChange | None:
        """A call has told nothing; it may have been one of those that might have decided."""
        if record.state not in _OPEN or began not in record.pending:
            return None
        record.pending.remove(began)
        return self._decide_nothing(key, record)

    def _decide_nothing(self, key: Key, record: _Record) -> HealthChange | None:
        """Give up a suspicion or a probe about which nothing that is under way can tell any more."""
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
        """How many may be left out in doubt."""
        return int(len(self._fleet) * self._policy.max_ejected_ratio) if self._may_eject else 0


def speaks_against(outcome: Outcome) -> bool:
    """Whether an outcome is the instance's failure."""
    return outcome.attempt_status in FAILURES or (
        outcome.attempt_status is AttemptStatus.STATUS and outcome.status in _SERVER_ERROR
    )


def _speaks_for(outcome: Outcome) -> bool:
    return outcome.attempt_status in (AttemptStatus.ANSWERED, AttemptStatus.STATUS)
