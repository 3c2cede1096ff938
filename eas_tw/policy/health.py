"""Which instances are left out for a while: passive ejection, as Envoy's outlier detection does it.

A failed connect ejects at once, consecutive failures after `eject_after`; each ejection in a row lasts twice as long,
with jitter, up to a bound. When it is over the instance is half open: it gets one call, the probe. A good answer
forgets the past, another failure ejects it again at once, for longer; until one of them is known it gets no second.
At most a share of the fleet is left out at a time, and further ejections are ignored (panic: better a doubtful instance
than too few). Where Envoy stops at 10 %, the default here is half: EAS lists often hold 2–9 instances. Lists of one
never eject.

State is kept by ip and port, so it survives polls. Knows no rotation: it answers with what changed.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING

from attrs import frozen

from eas_tw.policy.outcomes import ANSWERED, CONNECT_FAILURES, Condition

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from eas_tw.policy.outcomes import Outcome

Key = tuple[str, int]

FAILURES = CONNECT_FAILURES | {
    Condition.LOST,
    Condition.CUT,
    Condition.ATTEMPT_TIMEOUT,
    Condition.LATE,
    Condition.DEADLINE,
    Condition.VIOLATION,
}
"""Conditions that speak against the instance; a full queue (450) and a rate limit (429) never do."""

_SERVER_ERROR = range(500, 600)
_JITTER = 0.5
_CONNECT_BASE_S = 1.0


@frozen
class HealthPolicy:
    """When an instance is ejected and for how long; the defaults and units are those of `ClientConfig`."""

    eject_after: int = 5
    eject_base_s: float = 30.0
    eject_max_s: float = 60.0
    max_ejected_ratio: float = 0.5


class Verdict(Enum):
    """What an outcome changed for its instance."""

    EJECTED = auto()
    """It is left out from now on."""
    RETURNED = auto()
    """Its probe came back well: it takes part like any other."""
    UNDECIDED = auto()
    """Its probe told nothing, nor did who came to it meanwhile: it gets another."""


class _Record:
    __slots__ = ("ejections", "failures", "is_probing", "probed_at", "probes", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.ejections = 0
        self.until: float | None = None
        self.is_probing = False
        self.probed_at = 0.0
        self.probes = 0

    @property
    def is_out(self) -> bool:
        return self.until is not None or self.is_probing


class Health:
    """The record of every instance that failed lately; those without a record are well.

    Attributes:
        half_open: Instances whose ejection is over and whose probe has not been sent; nothing when all is well.
        next_return: When the next ejection ends; `None` when nobody is ejected.
    """

    def __init__(self, policy: HealthPolicy, rng: Random) -> None:
        self.half_open: dict[Key, None] = {}
        self._policy = policy
        self._rng = rng
        self._fleet: dict[Key, None] = {}
        self._records: dict[Key, _Record] = {}
        self.next_return: float | None = None

    @property
    def left_out(self) -> tuple[Key, ...]:
        """The instances that get no calls at the moment: those being probed first, then by the time of their return."""
        out = [(record.until or 0.0, key) for key, record in self._records.items() if record.is_out]
        return tuple(key for _, key in sorted(out))

    def is_out(self, key: Key) -> bool:
        """Whether an instance gets no calls at the moment."""
        record = self._records.get(key)
        return record is not None and record.is_out

    def set_fleet(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Learn the current list; forget the rest.

        Returns:
            Instances to bring back because the fleet shrank below what may be left out of it.
        """
        self._fleet = dict.fromkeys(keys)
        for key in [key for key in self._records if key not in self._fleet]:
            del self._records[key]
            self.half_open.pop(key, None)
        out = self.left_out
        surplus = len(out) - self._allowed()
        return self._bring_back(out[:surplus]) if surplus > 0 else ()

    def record(self, key: Key, outcome: Outcome, now: float, began: float = math.inf) -> Verdict | None:
        """Take note of how an attempt that began then ended; what that changed, if anything."""
        if outcome is ANSWERED and not self._records:
            return None
        record = self._records.get(key)
        if speaks_against(outcome):
            return self._blame(key, outcome, now) if key in self._fleet else None
        if record is None:
            return None
        if _speaks_for(outcome) and record.until is None:
            return self._forgive(key)
        if record.is_probing and began >= record.probed_at:
            return self._end_probe(key, record)
        return None

    def eject(self, key: Key, now: float) -> bool:
        """Leave an instance out for another reason than failures in a row; whether that is allowed."""
        record = self._records.setdefault(key, _Record())
        if record.is_out or not self._eject(record, self._policy.eject_base_s, now):
            return False
        self.half_open.pop(key, None)
        return True

    def returning(self, now: float) -> tuple[Key, ...]:
        """The instances whose ejection has ended by `now`, half open from here on; each is named once."""
        if self.next_return is None or now < self.next_return:
            return ()
        return self._bring_back(
            [key for key, record in self._records.items() if record.until is not None and record.until <= now]
        )

    def probe(self, key: Key, now: float) -> None:
        """A half-open instance has been given its call."""
        del self.half_open[key]
        record = self._records[key]
        record.is_probing, record.probed_at, record.probes = True, now, 1

    def resort(self, key: Key) -> None:
        """An instance that is left out has been given a call that has nowhere else to go; it may tell as much."""
        self._records[key].probes += 1

    def _blame(self, key: Key, outcome: Outcome, now: float) -> Verdict | None:
        record = self._records.setdefault(key, _Record())
        was_doubtful, record.is_probing = record.is_probing or key in self.half_open, False
        record.failures += 1
        refused = outcome.condition in CONNECT_FAILURES
        if record.until is None and (refused or record.ejections > 0 or record.failures >= self._policy.eject_after):
            self.half_open.pop(key, None)
            if self._eject(record, _CONNECT_BASE_S if refused else self._policy.eject_base_s, now):
                return Verdict.EJECTED
            # Too few would be left: it takes part like any other.
            return Verdict.RETURNED if was_doubtful else None
        return None

    def _end_probe(self, key: Key, record: _Record) -> Verdict | None:
        """One that was sent since it is half open told nothing."""
        record.probes -= 1
        if record.probes > 0:
            return None
        record.is_probing = False
        self.half_open[key] = None
        return Verdict.UNDECIDED

    def _eject(self, record: _Record, base_s: float, now: float) -> bool:
        if len(self.left_out) >= self._allowed():
            return False
        length = min(base_s * 2**record.ejections, max(base_s, self._policy.eject_max_s))
        record.until = now + length * (1.0 + _JITTER * self._rng.random())
        record.ejections = min(record.ejections + 1, 16)
        self._schedule()
        return True

    def _forgive(self, key: Key) -> Verdict | None:
        was_doubtful = self._records.pop(key).is_probing or key in self.half_open
        self.half_open.pop(key, None)
        return Verdict.RETURNED if was_doubtful else None

    def _bring_back(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        back = tuple(keys)
        for key in back:
            record = self._records[key]
            record.until = None
            record.is_probing = False
            self.half_open[key] = None
        self._schedule()
        return back

    def _schedule(self) -> None:
        ends = [record.until for record in self._records.values() if record.until is not None]
        self.next_return = min(ends, default=None)

    def _allowed(self) -> int:
        fleet = len(self._fleet)
        return int(fleet * self._policy.max_ejected_ratio) if fleet > 1 else 0


def speaks_against(outcome: Outcome) -> bool:
    """Whether an outcome is the instance's failure."""
    return outcome.condition in FAILURES or (outcome.condition is Condition.STATUS and outcome.status in _SERVER_ERROR)


def _speaks_for(outcome: Outcome) -> bool:
    return outcome.condition in (Condition.ANSWERED, Condition.STATUS)
