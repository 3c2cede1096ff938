"""The command `eas-tw perf`, which makes many calls and prints their latencies."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults

from eas_tw import ConfigError, EasError
from eas_tw.cli.output import while_read
from eas_tw.cli.predict import add_request_arguments, details, prepare

if TYPE_CHECKING:
    import argparse

    from eas_tw.cli.settings import Given

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "prepare", "run"]

HELP = "call a service many times"
DESCRIPTION = "Call a service many times, and print the latencies. Caution: this puts load on the service."

_PERCENTILES = (50, 90, 95, 99, 99.9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_request_arguments(parser)
    parser.add_argument("--calls", type=int, default=1000, help="number of calls (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=16, help="number of concurrent calls (default: %(default)s)")
    parser.add_argument("--output", choices=("pretty", "json"), default="pretty")


@define
class PerfResult:
    """The results of the calls.

    Attributes:
        answered_s: The latencies of the calls that got a response, in seconds.
        failed: The number of failed calls, by the name of the error's class.
        elapsed_s: The duration of the whole run, in seconds.
    """

    answered_s: list[float] = field(factory=list)
    failed: Counter[str] = field(factory=Counter)
    elapsed_s: float = 0.0

    def summary(self, retries: int, hedges: int) -> dict[str, Any]:
        """Return the statistics by name.

        Args:
            retries: The number of retries.
            hedges: The number of hedges: attempts on a second instance while the first was silent.

        Returns:
            Counts and rates, and latencies in milliseconds of the calls that got a response; there are no latencies if
            none did.
        """
        times = sorted(self.answered_s)
        figures: dict[str, Any] = {
            "answered": len(times),
            "failed": dict(self.failed),
            "retries": retries,
            "hedges": hedges,
            "elapsed_s": round(self.elapsed_s, 3),
            "calls_per_s": round(len(times) / self.elapsed_s, 1) if self.elapsed_s else 0.0,
        }
        if times:
            figures["mean_ms"] = round(sum(times) / len(times) * 1000, 3)
            figures |= {f"p{share:g}_ms": round(percentile(times, share) * 1000, 3) for share in _PERCENTILES}
            figures["max_ms"] = round(times[-1] * 1000, 3)
        return figures


def percentile(times: list[float], share: float) -> float:
    """Return a percentile by the nearest-rank method.

    Args:
        times: Sorted values, at least one.
        share: The percentile, 0–100.
    """
    rank = -(-len(times) * share // 100)
    return times[max(0, int(rank) - 1)]


async def run(reactor: Any, given: Given, options: argparse.Namespace, request: Any) -> None:
    """Make the calls, and print the statistics.

    Raises:
        ConfigError: `--calls` or `--in-flight` is below 1.
        EasError: A call failed; it is the error of the last call that failed.
    """
    if options.calls < 1 or options.in_flight < 1:
        raise ConfigError("--calls and --in-flight must be at least 1")
    account, last, left = PerfResult(), EasError("no call was answered"), iter(range(options.calls))
    async with given.make_client(reactor) as client:

        async def caller() -> None:
            nonlocal last
            for _ in left:
                began = reactor.seconds()
                try:
                    await client.predict(request, **details(options))
                except EasError as error:
                    account.failed[type(error).__name__] += 1
                    last = error
                else:
                    account.answered_s.append(reactor.seconds() - began)

        began = reactor.seconds()
        callers = [Deferred.fromCoroutine(caller()) for _ in range(min(options.in_flight, options.calls))]
        await while_read(reactor, gatherResults(callers, consumeErrors=True))
        account.elapsed_s = reactor.seconds() - began
        summary = account.summary(client.counters.retries.total(), client.counters.hedges)
    if options.output == "json":
        print(json.dumps(summary))
    else:
        width = max(map(len, summary))
        print("\n".join(f"{name:{width}}  {_shown(value)}" for name, value in summary.items()))
    if account.failed:
        # A run with failed calls must not look like a success to a script.
        raise last


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "0"
    return str(value)
