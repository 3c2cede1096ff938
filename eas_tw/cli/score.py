"""The command `eas-tw score`, which sends the rows of a file to a service, and can resume an interrupted job."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.threads import deferToThreadPool

from eas_tw import BodyError, ConfigError
from eas_tw.bulk import ErrorRow
from eas_tw.bulk.engine import Engine
from eas_tw.bulk.inputs import STDIN, RowReader, format_of, is_device
from eas_tw.bulk.job import Job
from eas_tw.bulk.job_files import JobFiles
from eas_tw.bulk.outputs import Lines, error_line
from eas_tw.bulk.row_source import DigestedRows, RowsOfThread, remaining_rows
from eas_tw.cli.files import check_different
from eas_tw.cli.output import while_read
from eas_tw.cli.score_arguments import DESCRIPTION, add_arguments, job_options, output_settings
from eas_tw.cli.score_functions import functions_of
from eas_tw.cli.score_progress import ProgressDisplay, Snapshot, account_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from twisted.internet.defer import Deferred

    from eas_tw import PredictClient
    from eas_tw.bulk import JobOptions, ScoringReport
    from eas_tw.bulk.inputs import InputRow
    from eas_tw.cli.score_functions import Functions
    from eas_tw.cli.settings import Given
__all__ = ["DESCRIPTION", "add_arguments", "prepare", "run"]

_STDIN_PATH = "/dev/stdin"
"""The path of standard input, which is compared with the paths of the files that are written (`< FILE`)."""


@define
class Plan:
    """The result of `prepare`: the settings, functions, files and remaining rows of a job, after all checks."""

    options: JobOptions
    functions: Functions
    reader: RowReader
    files: JobFiles
    facts: dict[str, dict[str, Any]]
    rows: Iterator[InputRow]


def prepare(options: argparse.Namespace) -> Plan:
    """Check the flags and files, and skip the input rows that are done.

    Raises:
        ConfigError: A flag is wrong, or the job cannot be resumed.
        OSError: The input cannot be read.
    """
    if options.output == STDIN and options.json:
        raise ConfigError("--json and --output - both write to standard output: leave one out")
    is_file = options.output != STDIN and not is_device(options.output)
    if not is_file and options.errors is None and not options.dry_run:
        raise ConfigError(f"--output {options.output} needs --errors FILE, for the rows that fail")
    if options.errors == STDIN and (options.output == STDIN or options.json):
        other = "--json" if options.json else "--output -"
        raise ConfigError(f"--errors - and {other} both write to standard output: leave one out")
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"--limit must be at least 1, got {options.limit}")
    kinds = {
        "input": format_of(options.input, options.input_format, "input"),
        "output": format_of(options.output, options.output_format, "output"),
    }
    if kinds["output"] == "parquet" and not is_file:
        raise ConfigError("Parquet cannot be written to standard output or to a device: give a file as --output")
    if options.resume and options.overwrite:
        raise ConfigError("give --resume, which goes on with a job, or --overwrite, which begins anew, not both")
    errors_path = options.errors or f"{options.output}.errors.jsonl"
    check_different(
        {
            "--output": options.output,
            "--errors": errors_path,
            "the journal": f"{options.output}.journal" if is_file else None,
            "the file of outputs before their conversion": f"{options.output}.rows" if is_file else None,
        },
        {"INPUT": _STDIN_PATH if options.input == STDIN else options.input},
    )
    functions = functions_of(options)
    job = job_options(options)
    reader = RowReader(options.input, kinds["input"], numbers=options.numbers)
    files = JobFiles(options.output, errors_path, kinds["output"])
    try:
        facts = {"input": reader.fingerprint(), "settings": output_settings(options, kinds)}
        if not options.dry_run:
            files.check(facts, resume=options.resume, overwrite=options.overwrite)
        rows = remaining_rows(reader, files.progress, options.limit)
    except BaseException:
        files.close()
        reader.close()
        raise
    return Plan(job, functions, reader, files, facts, rows)


async def run(reactor: Any, given: Given, options: argparse.Namespace, plan: Plan) -> None:
    """Score the rows, and print the report.

    Raises:
        TooManyErrors: More rows failed than `--max-errors` allows.
        BodyError: Rows cannot be encoded (`--dry-run`), or the outputs cannot be written as Parquet.
        EasError: The client could not be initialised, for example because there are no instances.
    """
    try:
        if options.dry_run:
            _dry_run(plan)
        elif plan.files.progress.is_finished:
            _print_account(options, plan, {})
        else:
            async with given.make_client(reactor) as client:
                await _score(reactor, client, options, plan)
    finally:
        plan.files.close()
        plan.reader.close()


async def _score(reactor: Any, client: PredictClient, options: argparse.Namespace, plan: Plan) -> None:
    files, begun_with = plan.files, plan.files.progress
    files.begin(plan.facts)
    threaded = RowsOfThread(plan.rows, lambda: reactor.callFromThread(engine.wake)) if options.input == STDIN else None
    source = DigestedRows(iter(threaded or plan.rows))
    chosen = plan.options.but(**plan.functions.options(files.formatter))
    job = Job(source, chosen, client.clock.seconds(), first_position=begun_with.rows)

    def deliver(outputs: list[bytes | ErrorRow]) -> Deferred[None]:
        lines = [output for output in outputs if isinstance(output, bytes)]
        failed = [_error_line(output) for output in outputs if isinstance(output, ErrorRow)]
        # In a thread, because flushing to the disk takes milliseconds. The engine waits for the Deferred, so only one
        # commit runs at a time.
        pool = reactor.getThreadPool()
        return deferToThreadPool(reactor, pool, files.commit, lines, failed, source.written(len(outputs)))

    def interrupted() -> None:
        display.stop()
        if files.journal_path is not None:
            print("eas-tw: interrupted; the same command with --resume goes on", file=sys.stderr, flush=True)

    engine = Engine(job, partial(client.predict, **chosen.call_arguments), client.clock, deliver)
    display = ProgressDisplay(reactor, lambda: _snapshot(job, client, options, plan), is_shown=not options.quiet)
    trigger = reactor.addSystemEventTrigger("before", "shutdown", interrupted)
    display.start()
    if threaded is not None:
        threaded.start()
    running = engine.run()
    try:
        await (while_read(reactor, running) if options.output == STDIN else running)
        files.finish(is_complete=options.limit is None)
    finally:
        reactor.removeSystemEventTrigger(trigger)
        display.stop()
        _print_account(options, plan, _figures(job.report(client.clock.seconds()), client, begun_with.rows))


def _snapshot(job: Job, client: PredictClient, options: argparse.Namespace, plan: Plan) -> Snapshot:
    report = job.report(client.clock.seconds())
    done = plan.files.progress.rows
    share = plan.reader.share_read if options.limit is None else done / options.limit
    return Snapshot(done, report.rows, plan.files.progress.failed, report.elapsed_s, share, client.counters.attempts)


def _figures(report: ScoringReport, client: PredictClient, resumed_from: int) -> dict[str, Any]:
    counters = client.counters
    return {
        **report.as_dict(),
        "resumed_from_row": resumed_from,
        "retries": counters.retries.total(),
        "hedges": counters.hedges,
        "attempts": dict(counters.attempts),
    }


def _print_account(options: argparse.Namespace, plan: Plan, figures: dict[str, Any]) -> None:
    progress = plan.files.progress
    account = {
        **figures,
        "rows_done": progress.rows,
        "rows_failed": progress.failed,
        "is_finished": progress.is_finished,
    }
    if options.json:
        print(json.dumps(account), flush=True)
    else:
        target = sys.stderr if options.output == STDIN else sys.stdout
        print(account_text(account), file=target, flush=True)


def _dry_run(plan: Plan) -> None:
    """Encode all requests without sending them, and print their number and mean size."""
    functions = plan.functions.options(Lines())
    encode = functions.get("encode") or (lambda row: functions["encode_batch"]([row]))
    rows, sizes, failed, first = 0, 0, 0, ""
    for row in plan.rows:
        rows += 1
        try:
            request = encode(row)
            body = request.to_string() if hasattr(request, "to_string") else request
            sizes += len(body.encode() if isinstance(body, str) else body)
        except Exception as error:  # noqa: BLE001  the program's function may raise any exception
            failed += 1
            first = first or f"row {row.position}: {type(error).__name__}: {error}"
    good = rows - failed
    mean = f", {sizes / good:.0f} bytes each on average" if good else ""
    print(f"{good} of {rows} rows can be sent{mean}; nothing was sent")
    if failed:
        raise BodyError(f"{failed} of {rows} rows cannot be encoded; the first: {first}")


def _error_line(row: ErrorRow) -> bytes:
    return error_line({**row.as_dict(), "input": row.input.shown}, row.input.text)
