"""The flags of `eas-tw score`, and their conversion to `JobOptions`."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.bulk import JobOptions
from eas_tw.bulk.inputs import STDIN
from eas_tw.cli import settings
from eas_tw.cli.predict import parse_header

if TYPE_CHECKING:
    import argparse

DESCRIPTION = (
    "Send each row of INPUT to a service, and write each answer as a row of OUTPUT: JSON Lines, CSV or Parquet, by the "
    "suffix. A row that fails is written to a file of its own. A job that was interrupted, even by kill -9, goes on "
    "with --resume, and each row is in the output once."
)
_FLAGS = {"in_flight": "--in-flight", "rate_per_s": "--rate", "batch_size": "--batch"}
"""The flag for each setting whose flag has another name, for error messages."""
_FORMATS = ("jsonl", "csv", "parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add = parser.add_argument
    add("input", metavar="INPUT", help="the file with the rows: .jsonl, .csv or .parquet; - for stdin")
    add("--output", required=True, metavar="OUTPUT", help="the file to write; - for stdout")
    add("--input-format", choices=_FORMATS, help="the format of INPUT (default: by its suffix; stdin: jsonl)")
    add("--output-format", choices=_FORMATS, help="the format of OUTPUT (default: by its suffix; stdout: jsonl)")
    add("--numbers", action="store_true", help="read cells of CSV that are JSON numbers as numbers, not as text")

    add = parser.add_argument_group("requests and answers").add_argument
    add("--encode", metavar="MODULE:FUNCTION", help="a function of a row that returns its request (default: JSON)")
    add("--decode", metavar="MODULE:FUNCTION", help="a function of a row and its response that returns the output")
    add("--encode-batch", metavar="MODULE:FUNCTION", help="a function of a list of rows that returns one request")
    add("--decode-batch", metavar="MODULE:FUNCTION", help="a function of the list and the response: a list of outputs")
    add(
        "--tensor",
        action="append",
        default=[],
        metavar="NAME:DTYPE:SHAPE",
        help="send columns as a tensor, such as images:float32:784 (the shape of one row); may be repeated",
    )
    add("--columns", action="append", default=[], metavar="A,B,p0..p9", help="the columns of the tensor (its name)")
    add("--request", choices=("tf", "torch"), default="tf", help="the kind of request for --tensor (default: tf)")
    add("--signature", default="", metavar="NAME", help="the signature name of the TFRequest")
    add("--fetch", action="append", default=[], metavar="NAME", help="an output of the model; may be repeated")
    add(
        "--field",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="a part of the answer that becomes a field of the output, such as score=0.p_1; may be repeated",
    )
    add("--keep", action="append", default=[], metavar="A,B", help="columns of the row to copy to the output")
    add("--path", default="", help="a path below the service's path")
    add("--header", action="append", default=[], metavar="NAME: VALUE", help="a header to send; may be repeated")

    add = parser.add_argument_group("the job").add_argument
    add("--batch", type=int, default=1, metavar="N", help="rows in one request (default: %(default)s)")
    add("--in-flight", type=int, default=64, metavar="N", help="requests at the same time (default: %(default)s)")
    add("--rate", type=float, metavar="ROWS", help="the maximum number of rows per second")
    add("--errors", metavar="FILE", help="the file of rows that fail (default: OUTPUT.errors.jsonl)")
    add(
        "--max-errors",
        default="50%",
        metavar="N|N%",
        help="end the job if more rows fail: a number, or a share of the rows from 100 on (default: 50%%)",
    )
    add("--resume", action="store_true", help="continue an interrupted job, or start a new one if there is none")
    add("--overwrite", action="store_true", help="remove the files of an earlier job, and start a new one")
    add("--limit", type=int, metavar="N", help="score the first N rows only")
    add("--dry-run", action="store_true", help="make the requests of all rows without sending them")
    add("--json", action="store_true", help="print the final report as JSON")
    add("--quiet", action="store_true", help="show no progress")


def job_options(options: argparse.Namespace) -> JobOptions:
    """Make the settings of the job.

    Raises:
        ConfigError: A value is wrong; the message names the flag.
    """
    try:
        return JobOptions(
            in_flight=options.in_flight,
            rate_per_s=options.rate,
            # After a kill, rows that were sent but are not in the output are sent again. Without an order buffer, at
            # most the rows of `in_flight` requests are sent again.
            order_buffer=0 if options.output != STDIN else None,
            max_errors=_max_errors(options.max_errors),
            path=options.path,
            headers=dict(map(parse_header, options.header)),
            batch_size=options.batch,
        )
    except ConfigError as error:
        name, _, rest = str(error).partition(" ")
        raise ConfigError(f"{_FLAGS.get(name, name)} {rest}") from None


def _max_errors(text: str) -> float | int:
    try:
        if text.endswith("%") and 0 <= float(text[:-1]) <= 100:  # noqa: PLR2004  percent
            return float(text[:-1]) / 100
        if int(text) >= 0:
            return int(text)
    except ValueError:
        pass
    raise ConfigError(f"--max-errors must be a number ≥ 0, or a share such as 5%, got {text!r}")


def output_settings(options: argparse.Namespace, kinds: dict[str, str]) -> dict[str, Any]:
    """Return the settings that affect the output, and so must be the same when a job is resumed.

    Args:
        options: The flags.
        kinds: The formats of the files, by `input` and `output`.
    """
    names = (
        "encode", "decode", "encode_batch", "decode_batch", "tensor", "columns", "request", "signature", "fetch",
        "field", "keep", "path", "numbers", "errors",
    )  # fmt: skip
    flags = {f"--{name.replace('_', '-')}": getattr(options, name) for name in names}
    return {
        **flags,
        "--header": [f"{name}: {_hash(value)}" for name, value in map(parse_header, options.header)],
        "service": settings.read(options).service,
        **{f"format of the {what}": kind for what, kind in kinds.items()},
    }


def _hash(value: str) -> str:
    """Return a hash of a header's value, which may be a secret, for the journal and for error messages."""
    return blake2b(value.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
