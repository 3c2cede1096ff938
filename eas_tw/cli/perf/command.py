"""The command `eas-tw perf`: its flags, the run, the output and the exit code."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

from eas_tw import ConfigError, EasError
from eas_tw.cli.files import check_different
from eas_tw.cli.output import while_read
from eas_tw.cli.perf.keys import keyed
from eas_tw.cli.perf.limits import PerfFailed, covers_errors, parse, violations
from eas_tw.cli.perf.plan import (
    DEFAULT_IN_FLIGHT,
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_REQUESTS,
    Plan,
    loads,
    not_negative,
    positive,
    whole,
)
from eas_tw.cli.perf.requests import requests_of
from eas_tw.cli.predict import add_request_arguments, details

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from eas_tw.cli.perf.figures import Figures
    from eas_tw.cli.settings import Given

DESCRIPTION = (
    "Call a service many times, and print latencies, errors and what each instance did. Caution: this puts load on the "
    "service. `eas-tw perf compare A.json B.json` compares two results."
)

_KEYLESS = ("wrr", "p2c")
"""Balancers that ignore the key of a call."""


@frozen
class Prepared:
    """The input of a run: an endless iterator of requests with their `predict` arguments (the key), and the plan."""

    requests: Iterator[tuple[Any, dict[str, str]]]
    plan: Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_request_arguments(parser)
    parser.add_argument(
        "--bodies", type=Path, metavar="PATH", help="send the lines of this file in turn, such as JSON Lines"
    )
    parser.add_argument(
        "--key-from",
        metavar="PATH|FIELD",
        help="the key of each call, for --balancer hash: the lines of a file in turn, or a field of the JSON bodies, "
        "such as user or messages.0.content",
    )
    add = parser.add_argument_group("load").add_argument
    add(
        "--in-flight",
        metavar="N,…",
        help=f"closed loop: the number of concurrent calls; a list is a sweep (default: {DEFAULT_IN_FLIGHT})",
    )
    add(
        "--rate",
        metavar="PER_S,…",
        help="open loop: start this number of calls per second, and count latencies from the time at which a call was "
        "due; a list is a sweep",
    )
    add(
        "--max-in-flight",
        metavar="N",
        help=f"open loop: calls that are due wait while this number is in flight (default: {DEFAULT_MAX_IN_FLIGHT})",
    )
    add(
        "--requests",
        "--calls",
        metavar="N",
        help=f"the number of measured calls of each step (default: {DEFAULT_REQUESTS}, or no bound with --duration)",
    )
    add("--duration", metavar="SECONDS", help="measure for this time in each step")
    add("--ramp", metavar="SECONDS", default="0", help="let the load grow for this time first; not measured")
    add("--warm-up", metavar="SECONDS", default="0", help="then keep the load for this time; not measured")
    add(
        "--stream",
        action="store_true",
        help="read the responses as streams: time to the first byte, time between events, tokens per second",
    )
    add = parser.add_argument_group("results").add_argument
    add("--output", choices=("pretty", "json", "csv", "html"), default="pretty", help="html: a page with charts")
    add("--output-file", type=Path, metavar="PATH", help="write that to a file, and print the pretty results")
    add(
        "--fail-if",
        action="append",
        default=[],
        metavar="LIMIT",
        help="exit with 1 if a result violates this, such as 'p99>50ms', 'errors>1%%' or 'rate<450'; may be repeated. "
        "With a limit for errors, failed calls do not change the exit code in any other way",
    )
    add("--no-progress", action="store_true", help="show no progress on standard error")


def prepare(options: argparse.Namespace) -> Prepared:
    """Check the flags, and read the request.

    Raises:
        ConfigError: A flag is wrong, or hdrhistogram is not installed.
        BodyError: The request is not valid.
        OSError: A file cannot be read.
    """
    requests = None if options.requests is None else whole("--requests", options.requests)
    duration_s = None if options.duration is None else positive("--duration", options.duration)
    plan = Plan(
        loads=loads(options.in_flight, options.rate, options.max_in_flight),
        requests=DEFAULT_REQUESTS if requests is None and duration_s is None else requests,
        duration_s=duration_s,
        ramp_s=not_negative("--ramp", options.ramp),
        warm_up_s=not_negative("--warm-up", options.warm_up),
        is_stream=options.stream,
        limits=tuple(map(parse, options.fail_if)),
        output=options.output,
        output_file=options.output_file,
        shows_progress=not options.no_progress,
    )
    import_module("eas_tw.cli.perf.histogram")  # reports that hdrhistogram is missing, before the run
    if plan.output_file is not None:
        read = {"--bodies": options.bodies, "--file": options.file, "--key-from": options.key_from}
        check_different({"--output-file": plan.output_file}, read)
        _check_writable(plan.output_file)
    if options.key is not None and options.key_from is not None:
        raise ConfigError("give --key or --key-from, not both")
    return Prepared(keyed(requests_of(options), options.key_from), plan)


async def run(reactor: Any, given: Given, options: argparse.Namespace, prepared: Prepared) -> None:
    """Put load on the service, and write the results; after an interrupt, they contain the calls that have ended.

    Raises:
        PerfFailed: A result violates a limit.
        EasError: There is no limit for errors, and a call failed (the error of the last failed call is raised), or no
            call was made.
    """
    for flag, key in (("--key", options.key), ("--key-from", options.key_from)):
        if key is not None and given.balancer in _KEYLESS:
            print(
                f"eas-tw: {flag} has no effect with the balancer {given.balancer}: add --balancer hash",
                file=sys.stderr,
                flush=True,
            )
    # Imported after the checks of `prepare`, and only by this command.
    from eas_tw.cli.perf.perf_run import PerfRun  # noqa: PLC0415
    from eas_tw.cli.perf.progress import display_for  # noqa: PLC0415
    from eas_tw.cli.perf.report import document  # noqa: PLC0415
    from eas_tw.cli.perf.sending import sender  # noqa: PLC0415

    plan = prepared.plan
    about = _about(given, plan)
    display = display_for(sys.stderr) if plan.shows_progress else None
    finished: Deferred[None] = Deferred()
    try:
        async with given.make_client(reactor) as client:
            send = sender(client, prepared.requests, details(options), is_stream=plan.is_stream)
            perf_run = PerfRun(client.clock, send, client.listen, plan, display)

            def interrupt() -> Deferred[None]:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt writing the results
                perf_run.interrupt()
                return finished  # the reactor stops when the results are written and the connections are closed

            trigger = reactor.addSystemEventTrigger("before", "shutdown", interrupt)
            try:
                running = Deferred.fromCoroutine(perf_run.run())
                await (running if plan.output_file is not None else while_read(reactor, running))
            finally:
                if not perf_run.is_interrupted:
                    reactor.removeSystemEventTrigger(trigger)
            write(document(perf_run.results, {**about, "is_interrupted": perf_run.is_interrupted}), plan)
    finally:
        finished.callback(None)
    _check(perf_run.results, plan)


def write(result: dict[str, Any], plan: Plan) -> None:
    """Write the results to standard output, or to a file with a summary on standard output."""
    from eas_tw.cli.perf.formats import FORMATS  # noqa: PLC0415

    if plan.output_file is None:
        print(FORMATS[plan.output](result), flush=True)
        return
    try:
        plan.output_file.write_text(FORMATS[plan.output](result) + "\n", "utf-8")
    except OSError as error:  # add the name of the file, which an error of writing (not of opening) lacks
        raise OSError(error.errno, error.strerror, str(plan.output_file)) from None
    finally:  # also if the disk is full, so that the results are not lost
        print(FORMATS["pretty"](result), flush=True)


def _about(given: Given, plan: Plan) -> dict[str, Any]:
    return {
        "version": version("eas-tw"),
        "service": given.service,
        "endpoint": given.endpoint,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {
            "requests": plan.requests,
            "duration_s": plan.duration_s,
            "ramp_s": plan.ramp_s,
            "warm_up_s": plan.warm_up_s,
            "stream": plan.is_stream,
        },
    }


def _check(steps: Sequence[Figures], plan: Plan) -> None:
    """Raise the error that determines the exit code, if there is one."""
    said = []
    for step in steps:
        prefix = f"at {step.load}: " if len(plan.loads) > 1 else ""
        said += [prefix + sentence for sentence in violations(plan.limits, step)]
    if said:
        raise PerfFailed("; ".join(said))
    if covers_errors(plan.limits):
        return
    errors = [step.recorder.last_error for step in steps if step.recorder.last_error is not None]
    if errors:
        # Without a limit for errors, the exit code of a run with failed calls must not be 0.
        raise errors[-1]
    if not any(step.calls for step in steps):
        raise EasError("no call was made in the time of the measurement")


def _check_writable(file: Path) -> None:
    """Check that the file can be written, before the run."""
    try:
        file.open("ab").close()
    except OSError as error:
        raise ConfigError(f"--output-file: cannot write to {file}: {error.strerror}") from None
