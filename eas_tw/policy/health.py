"""Which instances are left out for a while: passive ejection, as Envoy's outlier detection does it.

A failed connect ejects at once, consecutive failures after `eject_after`; each ejection in a row lasts twice as long,
with jitter, up to a bound. When it expires the instance simply takes part again, and its first call is the probe:
another failure ejects it again at once, for longer, and a good answer forgets the past.
At most a share of the fleet is ejected at a time. Where Envoy stops at 10 %, the default here is half: EAS lists often
hold 2–9 instances. Lists of one never eject.

State is kept by ip and port, so it survives polls. Knows no rotation: it answers with what to take out or bring back.
"""

from __future__ import annotations

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


class _Record:
    __slots__ = ("ejections", "failures", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.ejections = 0
        self.until: float | None = None


class Health:
    """The record of every instance that failed lately; those without a record are well."""

    def __init__(self, policy: HealthPolicy, rng: Random) -> None:
        self._policy = policy
        self._rng = rng
        self._fleet: dict[Key, None] = {}
        self._records: dict[Key, _Record] = {}
        self._next_return: float | None = None

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances left out at the moment, those that return first in front."""
        out = [(record.until, key) for key, record in self._records.items() if record.until is not None]
        return tuple(key for _, key in sorted(out))

    def set_fleet(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Learn the current list; forget the rest.

        Returns:
            Ejected instances to bring back because the fleet shrank below what may be ejected of it.
        """
        self._fleet = dict.fromkeys(keys)
        for key in [key for key in self._records if key not in self._fleet]:
            del self._records[key]
        out = self.ejected
        surplus = len(out) - self._allowed()
        return self._bring_back(out[:surplus]) if surplus > 0 else ()

    def record(self, key: Key, outcome: Outcome, now: float) -> bool:
        """Take note of how an attempt ended.

        Returns:
            Whether the instance is to be ejected now.
        """
        if outcome is ANSWERED and not self._records:
            return False
        if not _speaks_against(outcome):
            if self._records and _speaks_for(outcome):
                self._forgive(key)
            return False
        if key not in self._fleet:
            return False
        record = self._records.setdefault(key, _Record())
        record.failures += 1
        at_once = outcome.condition in CONNECT_FAILURES or record.ejections > 0
        if record.until is not None or not (at_once or record.failures >= self._policy.eject_after):
            return False
        return self._eject(record, outcome, now)

    def returning(self, now: float) -> tuple[Key, ...]:
        """The instances whose ejection has ended by `now`; each is named once."""
        if self._next_return is None or now < self._next_return:
            return ()
        due = [key for key in self.ejected if (self._records[key].until or 0.0) <= now]
        return self._bring_back(due)

    def _eject(self, record: _Record, outcome: Outcome, now: float) -> bool:
        if len(self.ejected) >= self._allowed():
            return False
        policy = self._policy
        base = _CONNECT_BASE_S if outcome.condition in CONNECT_FAILURES else policy.eject_base_s
        length = min(base * 2**record.ejections, max(base, policy.eject_max_s))
        record.until = now + length * (1.0 + _JITTER * self._rng.random())
        record.ejections = min(record.ejections + 1, 16)
        self._schedule()
        return True

    def _forgive(self, key: Key) -> None:
        record = self._records.get(key)
        if record is not None and record.until is None:
            del self._records[key]

    def _bring_back(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        back = tuple(keys)
        for key in back:
            self._records[key].until = None
        self._schedule()
        return back

    def _schedule(self) -> None:
        ends = [record.until for record in self._records.values() if record.until is not None]
        self._next_return = min(ends, default=None)

    def _allowed(self) -> int:
        fleet = len(self._fleet)
        return int(fleet * self._policy.max_ejected_ratio) if fleet > 1 else 0


def _speaks_against(outcome: Outcome) -> bool:
    return outcome.condition in FAILURES or (outcome.condition is Condition.STATUS and outcome.status in _SERVER_ERROR)


def _speaks_for(outcome: Outcome) -> bool:
    return outcome.condition in (Condition.ANSWERED, Condition.STATUS)
