"""The `requests` command: list the newest requests that reached instances, count them, or follow them."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from simulator.commands import check_reader
from simulator.commands.remotely import add_url, show, with_remote

if TYPE_CHECKING:
    import argparse

    from eas_tw.testing.remote import Remote

_FILTERS = ("service", "instance", "status", "method", "path", "fault")
_MOST = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_url(parser)
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="number of requests to print (default: %(default)s)"
    )
    parser.add_argument("--follow", action="store_true", help="print new requests until interrupted")
    parser.add_argument("--count", action="store_true", help="print only the number of requests")
    for name in _FILTERS:
        parser.add_argument(f"--{name}", help=f"only of this {name}" + (", such as 450 or 5xx" * (name == "status")))


def run(options: argparse.Namespace) -> int:
    """Print the requests."""
    try:
        return with_remote(options, lambda remote: _work(options, remote))
    except KeyboardInterrupt:
        return 0


def _work(options: argparse.Namespace, remote: Remote) -> None:
    wanted = {name: getattr(options, name) for name in _FILTERS}
    limit = _MOST if options.count else options.limit
    found = remote.ask("GET", "/v1/requests", limit=limit, **wanted)
    if options.count:
        show(options, {"count": len(found["requests"])}, lambda: [str(len(found["requests"]))])
        return
    if not options.follow:
        show(options, found, lambda: [_line(row) for row in found["requests"]])
        return
    last = found["requests"][-1]["number"] if found["requests"] else 0
    for row in found["requests"]:
        show(options, row, partial(_lines, row))
    with remote.events(rate=0) as events:
        # The events only trigger the next read. The rows are read from the journal, so that filters apply and no row
        # is skipped.
        for event, _ in events:
            check_reader()
            if event == "tick":
                for row in remote.ask("GET", "/v1/requests", limit=_MOST, after=last, **wanted)["requests"]:
                    last = row["number"]
                    show(options, row, partial(_lines, row))


def _lines(row: dict[str, Any]) -> list[str]:
    return [_line(row)]


def _line(row: dict[str, Any]) -> str:
    clock = datetime.fromtimestamp(row["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    status = row["status"] or "---"
    fault = f"  [{row['fault']}]" if row["fault"] else ""
    return (
        f"{clock}  {status}  {row['elapsed_s'] * 1000:9.2f} ms  {row['instance']}  {row['method']} {row['path']}  "
        f"{row['bytes_in']} in, {row['bytes_out']} out{fault}"
    )
