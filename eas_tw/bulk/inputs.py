"""Readers of input files: JSON Lines, CSV and Parquet, one row at a time."""

from __future__ import annotations

import csv
import io
import json
import re
from codecs import BOM_UTF8
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from attrs import frozen

from eas_tw import BodyError, ConfigError
from eas_tw.bulk.parquet import parquet_module

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
"""The formats of files, by the suffix of the file name."""
STDIN = "-"
_DIGEST_BYTES = 16
_HEAD_BYTES = 64 * 2**10
_ROWS_AT_ONCE = 1024
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?P<fraction>(?:\.\d+)?(?:[eE][+-]?\d+)?)")
"""A number of JSON (RFC 8259 §6). Cells such as `007` and `1,5` do not match, so they are read as text."""
_CELL_CHARS = 64 * 2**20
"""Maximum length of a cell of CSV. The default of `csv`, 128 KiB, is less than an image in Base64; without a limit, a
quotation mark that is not closed would read the rest of the file into memory."""


@frozen
class WrongCells:
    """A row of CSV that has fewer or more cells than the header."""

    cells: list[str]
    expected: int


class InputRow:
    """A row of a file.

    Args:
        position: The position of the row, from 0.
        raw: The row as it was read: a line of JSON as bytes, a dictionary, or `WrongCells`.
        digest: A hash of this row and all rows before it.
    """

    __slots__ = ("_value", "digest", "position", "raw")

    def __init__(self, position: int, raw: bytes | dict[str, Any] | WrongCells, digest: bytes) -> None:
        self.position = position
        self.raw = raw
        self.digest = digest
        self._value: Any = raw if isinstance(raw, dict) else None

    @property
    def value(self) -> Any:
        """The row's value: the parsed line, or a dictionary with the cells by column.

        Raises:
            BodyError: The line is not JSON, or has fewer or more cells than the header.
        """
        if isinstance(self.raw, WrongCells):
            raise BodyError(f"the row has {len(self.raw.cells)} cells; the header has {self.raw.expected}")
        if self._value is None and isinstance(self.raw, bytes):
            try:
                self._value = _JSON.decode(self.raw.decode())
            except (ValueError, RecursionError) as error:
                raise BodyError(f"the line is not JSON: {error}") from None
        return self._value

    @property
    def shown(self) -> Any:
        """The row as it is written to the error file: its value, the text of a line that is not JSON, or its cells."""
        if isinstance(self.raw, WrongCells):
            return self.raw.cells
        try:
            return self.value
        except BodyError:
            return self.text

    @property
    def text(self) -> str:
        """The row as it was read, as a text."""
        return self.raw.decode("utf-8", "backslashreplace") if isinstance(self.raw, bytes) else repr(self.raw)


class RowReader:
    """Reads the rows of a file.

    Args:
        path: The file; `-` for standard input.
        kind: `jsonl`, `csv` or `parquet`.
        numbers: Whether cells of CSV that have the form of a JSON number are read as numbers.

    Attributes:
        size: The size of the file in bytes; `None` for standard input.

    Raises:
        ConfigError: Parquet needs a package that is missing, or cannot be read from standard input; or the file is a
            pipe or a device.
        OSError: The file cannot be opened.
    """

    def __init__(self, path: str, kind: str, *, numbers: bool = False) -> None:
        self._kind = kind
        self._numbers = numbers
        self._is_stdin = path == STDIN
        if kind == "parquet":
            if self._is_stdin:
                raise ConfigError("a Parquet file cannot be read from standard input, because its index is at its end")
            parquet_module()
        if not self._is_stdin and is_device(path):
            raise ConfigError(
                f"{path} is a pipe or a device, which cannot be read twice: give - as INPUT, and redirect it to stdin"
            )
        # Standard input is opened again: at exit the interpreter waits for the lock of `sys.stdin`, and a thread that
        # waits for a row would hold this lock.
        self._file: BinaryIO = io.open(0, "rb", closefd=False) if self._is_stdin else Path(path).open("rb")  # noqa: SIM115, UP020
        self.size = None if self._is_stdin else Path(path).stat().st_size
        self._done_rows = 0
        self._all_rows: int | None = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def share_read(self) -> float | None:
        """The share of the file that has been read, 0–1; `None` if it is unknown."""
        if self._all_rows is not None:
            return self._done_rows / self._all_rows if self._all_rows else 1.0
        return self._file.tell() / self.size if self.size else None

    def fingerprint(self) -> dict[str, Any]:
        """Return values that identify the file: its size, and a hash of its first 64 KiB; empty for standard input."""
        if self._is_stdin:
            return {}
        head = self._file.read(_HEAD_BYTES)
        self._file.seek(0)
        return {"bytes": self.size, "hash of the first 64 KiB": blake2b(head, digest_size=_DIGEST_BYTES).hexdigest()}

    def rows(self) -> Iterator[InputRow]:
        """Return an iterator of the rows; it can be used once.

        Raises:
            BodyError: The file cannot be divided into rows, because it is not CSV or Parquet, or two of its columns
                have the same name.
        """
        raw_rows = {"jsonl": self._lines, "csv": self._cells, "parquet": self._records}[self._kind]()
        digest = b""
        for position, raw in enumerate(raw_rows):
            content = raw if isinstance(raw, bytes) else repr(raw).encode("utf-8", "surrogatepass")
            digest = blake2b(digest + content, digest_size=_DIGEST_BYTES).digest()
            yield InputRow(position, raw, digest)

    def _lines(self) -> Iterator[bytes]:
        for number, line in enumerate(self._file):
            content = (line if number else line.removeprefix(BOM_UTF8)).strip()
            if content:
                yield content

    def _cells(self) -> Iterator[dict[str, Any] | WrongCells]:
        text = io.TextIOWrapper(self._file, "utf-8-sig", errors="surrogateescape", newline="")
        limit_before = csv.field_size_limit(_CELL_CHARS)  # the limit is that of the process
        try:
            reader = csv.reader(text)
            names = next(reader, [])
            if len(set(names)) != len(names):
                raise BodyError(f"two columns of the CSV file have the same name: {', '.join(names)}")
            for cells in reader:
                if len(cells) == len(names):
                    yield dict(zip(names, map(_cell, cells) if self._numbers else cells, strict=True))
                elif cells:
                    yield WrongCells(cells, len(names))
        except csv.Error as error:
            raise BodyError(f"the file is not CSV: {error}") from None
        finally:
            csv.field_size_limit(limit_before)
            text.detach()

    def _records(self) -> Iterator[dict[str, Any]]:
        parquet = parquet_module()
        try:
            with parquet.ParquetFile(self._file) as file:
                self._all_rows = file.metadata.num_rows
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                    for record in batch.to_pylist():
                        self._done_rows += 1
                        yield record
        except ValueError as error:  # pyarrow's error for a wrong format
            raise BodyError(f"the file is not Parquet: {error}") from None


def is_device(path: str) -> bool:
    """Return whether a path is that of a device or a pipe, which has no length and must not be removed."""
    found = Path(path)
    return found.exists() and not found.is_file() and not found.is_dir()


def format_of(path: str, given: str | None, what: str) -> str:
    """Return the format of a file.

    Args:
        path: The file; `-` for standard input or output, whose format is `jsonl` unless it is given.
        given: The format from an option; `None` to derive it from the suffix.
        what: Name of the option without `--`, such as `input`, for the message.

    Raises:
        ConfigError: The suffix is unknown.
    """
    if given is not None:
        return given
    if path == STDIN:
        return "jsonl"
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise ConfigError(f"{what} must end in {', '.join(FORMATS)}, or have --{what}-format; got {path!r}")
    return kind


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _cell(text: str) -> Any:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    if match["fraction"]:
        return float(text)
    try:
        return int(text)
    except ValueError:  # more digits than `sys.get_int_max_str_digits()`
        return text


# A module constant, because `json.loads` with this argument would make a decoder for each row.
_JSON = json.JSONDecoder(parse_constant=_refuse)
