"""Shared parts of the experiments' clients, which start calls on a fixed schedule.

A call starts when it is due, even if earlier calls have not ended. Its latency is measured from the due time, so that
it includes the delay of a client that is too slow (no coordinated omission).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

BODY = '[{"money_credit": 3000000}]'
TIMEOUT_S = 5.0


def options() -> argparse.Namespace:
    """Parse a client's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("service")
    parser.add_argument("token")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--per-s", type=float, default=100.0)
    parser.add_argument("--settings", type=json.loads, default={}, help="options of eas_tw's ClientConfig, as JSON")
    return parser.parse_args()


class Account:
    """Records the due time and the result of each call."""

    def __init__(self) -> None:
        self._latencies_s: list[float] = []
        self._errors: Counter[str] = Counter()
        self._timeline: list[tuple[float, float]] = []

    def ended(self, due_s: float, now_s: float, answer: Any) -> None:
        """Record the end of a call.

        Args:
            due_s: When the call was due, in seconds after the start.
            now_s: When it ended, in seconds after the start.
            answer: Text of the response, or an exception.
        """
        if isinstance(answer, BaseException):
            self._errors[type(answer).__name__] += 1
        elif answer != BODY:
            self._errors["wrong answer"] += 1
        else:
            self._latencies_s.append(now_s - due_s)
            self._timeline.append((round(due_s, 3), round(now_s - due_s, 5)))

    def report(self) -> None:
        """Print the results as one line of JSON."""
        ranked = sorted(self._latencies_s)
        lost = self._errors.total()
        print(
            json.dumps(
                {
                    "calls": len(ranked) + lost,
                    "lost": lost,
                    "errors": dict(self._errors),
                    "p50_s": _percentile(ranked, 0.50),
                    "p99_s": _percentile(ranked, 0.99),
                    "timeline": self._timeline,
                }
            ),
            flush=True,
        )


def _percentile(ranked: list[float], share: float) -> float | None:
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else None
