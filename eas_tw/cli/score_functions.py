"""The functions of `eas-tw score` that make requests from rows, and outputs from responses, as the flags describe."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eas_tw import BodyError, ConfigError, JsonRequest, JsonResponse
from eas_tw.cli.score_tensors import tensor_functions
from eas_tw.dotted_names import load_function

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from eas_tw.bulk.inputs import InputRow
    from eas_tw.bulk.outputs import Cells, Lines

POSITION = "row"
RESPONSE = "response"


class _Line:
    """A request whose body is a line of the input file, unchanged; the line has been checked to be JSON."""

    __slots__ = ("_line",)
    content_type = JsonRequest.content_type

    def __init__(self, line: bytes) -> None:
        self._line = line

    def to_string(self) -> bytes:
        return self._line

    def parse_response(self, content: bytes) -> JsonResponse:
        return JsonResponse(content)


@frozen
class Functions:
    """The functions that convert rows to requests, and responses to lines of the output.

    Attributes:
        encode: A function of a row's value that returns a request.
        decode: A function of a row's value and a response that returns the output.
        encode_batch: A function of a list of values that returns a request; `None` if requests have one row.
        decode_batch: A function of a list of values and a response that returns a list of outputs; `None` if requests
            have one row.
        fields: Pairs of the name of a field of the output and its path in the response; empty for the whole response.
        keep: The columns of the row that are copied to the output.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any, Any], Any]
    encode_batch: Callable[[list[Any]], Any] | None
    decode_batch: Callable[[list[Any], Any], Any] | None
    fields: tuple[tuple[str, tuple[str, ...]], ...]
    keep: tuple[str, ...]

    def options(self, formatter: Lines | Cells) -> dict[str, Any]:
        """Return `JobOptions` arguments for a job whose rows are `InputRow` and whose outputs are lines.

        Args:
            formatter: The object that makes the lines.
        """

        def request(row: InputRow) -> Any:
            value = row.value
            if self.encode is JsonRequest and isinstance(row.raw, bytes):
                return _Line(row.raw)
            return self.encode(value)

        def line(row: InputRow, response: Any) -> bytes:
            return formatter.line(self.output(row, self.decode(row.value, response)))

        if self.encode_batch is None or self.decode_batch is None:
            return {"encode": request, "decode": line}
        encode_batch, decode_batch = self.encode_batch, self.decode_batch

        def batch_request(rows: Sequence[InputRow]) -> Any:
            return encode_batch([row.value for row in rows])

        def batch_lines(rows: Sequence[InputRow], response: Any) -> list[bytes]:
            found = list(decode_batch([row.value for row in rows], response))
            if len(found) != len(rows):
                raise BodyError(f"the response has {len(found)} outputs for {len(rows)} rows")
            return [formatter.line(self.output(row, each)) for row, each in zip(rows, found, strict=True)]

        return {"encode_batch": batch_request, "decode_batch": batch_lines}

    def output(self, row: InputRow, found: Any) -> dict[str, Any]:
        """Make the output of a row: its position, the columns to keep, and the fields of the response.

        Args:
            row: The row.
            found: The result of `decode`, or an item of the result of `decode_batch`.

        Raises:
            BodyError: A column or field is missing, or a column and a field have the same name.
        """
        kept: dict[str, Any] = {POSITION: row.position}
        for name in self.keep:
            if not isinstance(row.value, dict) or name not in row.value:
                raise BodyError(f"the row has no column {name}, which --keep names")
            kept[name] = row.value[name]
        if self.fields:
            fields = {name: _part(found, path) for name, path in self.fields}
        else:
            fields = found if isinstance(found, dict) else {RESPONSE: found}
        twice = kept.keys() & fields.keys()
        if twice:
            raise BodyError(f"the response has a field {min(twice)}, which is a column already: choose with --field")
        return {**kept, **fields}


def functions_of(options: argparse.Namespace) -> Functions:
    """Make the functions from the flags.

    Raises:
        ConfigError: Flags contradict each other, or a function cannot be imported.
    """
    # Functions are usually in a file of the current folder, which is not in `sys.path` of an installed script.
    if os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    given = {
        name: load_function(f"--{name.replace('_', '-')}", found)
        for name in ("encode", "decode", "encode_batch", "decode_batch")
        if (found := getattr(options, name)) is not None
    }
    fields = tuple(map(_field, options.field))
    keep = tuple(name for text in options.keep for name in text.split(","))
    if len({POSITION, *keep}) != 1 + len(keep):
        raise ConfigError(f"--keep has a column twice, or {POSITION!r}, which is the position of the row")
    if not options.tensor and (options.columns or options.signature or options.fetch):
        raise ConfigError("--columns, --signature and --fetch belong to --tensor")
    if options.tensor and ("encode" in given or "encode_batch" in given):
        raise ConfigError("give one of --tensor and --encode")
    encode, decode = given.get("encode", JsonRequest), given.get("decode", _data)
    if options.batch == 1 and not options.tensor and not given.keys() & {"encode_batch", "decode_batch"}:
        return Functions(encode, decode, None, None, fields, keep)
    several: dict[str, Any] = {"encode_batch": JsonRequest, "decode_batch": _items}
    if options.tensor:
        several = tensor_functions(options)
    for single in given.keys() & {"encode", "decode"}:
        if f"{single}_batch" not in given and options.batch > 1:
            raise ConfigError(f"--batch {options.batch} needs --{single}-batch, a function of a list of rows")
        several[f"{single}_batch"] = partial(_of_one, given[single])
    several |= {name: function for name, function in given.items() if name in several}
    return Functions(encode, decode, several["encode_batch"], several["decode_batch"], fields, keep)


def _of_one(function: Callable[..., Any], rows: list[Any], *response: Any) -> Any:
    """Call `encode` or `decode` with the only row of a batch; return the output of `decode` in a list."""
    found = function(rows[0], *response)
    return [found] if response else found


def _data(_: Any, response: Any) -> Any:
    """Return the data of a JSON response; for a text response, its text, parsed if it is JSON."""
    if hasattr(response, "data"):
        return response.data
    text = response.to_string()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _items(rows: list[Any], response: Any) -> list[Any]:
    data = _data(rows, response)
    if not isinstance(data, list):
        raise BodyError("the response to a batch must be a JSON array with one item for each row; see --decode-batch")
    return data


def _field(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, path = text.partition("=")
    parts = tuple((path if equals else name).split("."))
    if not name or not all(parts):
        raise ConfigError(f"--field must look like PATH or NAME=PATH, such as score=0.p_1, got {text!r}")
    return name, parts


def _part(value: Any, path: tuple[str, ...]) -> Any:
    for at, step in enumerate(path):
        try:
            value = value[step] if isinstance(value, dict) else value[int(step)]
        except (KeyError, IndexError, TypeError, ValueError):
            raise BodyError(f"the response has no {'.'.join(path[: at + 1])}, which --field names") from None
    return value
