"""The files that a job writes, outputs and error rows, and the formats of their lines."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import stat
import sys
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from eas_tw import BodyError
from eas_tw.bulk.errors import CannotWrite
from eas_tw.bulk.inputs import STDIN, is_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Lines:
    """Makes lines of JSON."""

    header = b""

    def line(self, output: dict[str, Any]) -> bytes:
        """Make the line of an output.

        Raises:
            BodyError: The output cannot be written as JSON.
        """
        try:
            return _JSON.encode(output).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise BodyError(f"the output cannot be written as JSON: {error}") from error


def error_line(row: dict[str, Any], raw: str) -> bytes:
    """Make the line of an error row, which is JSON whatever the input is: a bad row must not end the job.

    Args:
        row: The error row as a dictionary, with the key `input`.
        raw: The text that replaces an input that cannot be written as JSON, such as one with a NaN.
    """
    try:
        line = _JSON.encode(row)
    except (TypeError, ValueError, RecursionError):
        line = _JSON.encode({**row, "input": raw})
    # A surrogate without its other half, such as a byte of CSV that is not UTF-8, becomes its escape sequence in JSON.
    return line.encode("utf-8", "backslashreplace") + b"\n"


class Cells:
    """Makes lines of CSV. The first output determines the columns; lists and dictionaries are written as JSON.

    Args:
        columns: The columns of the lines that are already in the file; `None` for a new file.
    """

    def __init__(self, columns: list[str] | None = None) -> None:
        self.columns = columns

    @property
    def header(self) -> bytes:
        """The line with the names of the columns; empty before the first output."""
        return b"" if self.columns is None else _csv_line(self.columns)

    def line(self, output: dict[str, Any]) -> bytes:
        """Make the line of an output.

        Raises:
            BodyError: The output does not have the columns of the first output, or cannot be written as CSV.
        """
        names = list(output)
        columns = names if self.columns is None else self.columns
        if names != columns and sorted(names) != sorted(columns):
            raise BodyError(f"the output has the columns {', '.join(names)}; the first had {', '.join(columns)}")
        try:
            line = _csv_line([_cell(output[name]) for name in columns])
        except (TypeError, ValueError, RecursionError) as error:
            raise BodyError(f"the output cannot be written as CSV: {error}") from error
        self.columns = columns  # only now: an output that cannot be written must not determine the columns
        return line


class AppendedFile:
    """A file to which bytes are appended; `-` is standard output.

    Args:
        path: The file. It is created when the first bytes are appended.
        length: The length to which the file is truncated when it is opened, in bytes.

    Attributes:
        length: The current length in bytes.

    Raises:
        ValueError: The file is shorter than `length`.
    """

    def __init__(self, path: str, length: int = 0) -> None:
        self._path = path
        self.length = length
        self._is_regular = False
        self._descriptor: int | None = sys.stdout.fileno() if path == STDIN else None
        if path != STDIN and length and not is_device(path):
            found = Path(path).stat().st_size if Path(path).exists() else 0
            if found < length:
                raise ValueError(f"{path} has {found} bytes, and had {length} when it was written")

    def append(self, content: bytes) -> None:
        """Append bytes, and flush them: a regular file to the disk, standard output to its reader.

        Raises:
            CannotWrite: The file cannot be written to.
            OSError: Standard output cannot be written to.
        """
        if not content:
            return
        if self._path == STDIN:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        else:
            descriptor = self.open()
            with self._naming_the_file():
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                if self._is_regular:
                    os.fsync(descriptor)
        self.length += len(content)

    def cut(self) -> None:
        """Truncate the file to `length`, if it exists."""
        if self._path != STDIN and Path(self._path).exists():
            self.open()

    def open(self) -> int:
        """Open the file and truncate it to `length`, unless it is open; return its descriptor.

        Raises:
            CannotWrite: The file cannot be opened.
        """
        if self._descriptor is None:
            with self._naming_the_file():
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
                self._is_regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
                if self._is_regular:  # a pipe or a device has no length
                    os.ftruncate(self._descriptor, self.length)
                    os.lseek(self._descriptor, self.length, os.SEEK_SET)
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None and self._path != STDIN:
            os.close(self._descriptor)
        self._descriptor = None

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # the error of `os.write` does not contain the name of the file
            raise CannotWrite(error.errno, error.strerror, self._path) from error


def sync_folder(path: Path) -> None:
    """Flush the folder of a file to the disk, so that the entry of the file is not lost in a power failure."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """Convert arrays and numpy scalars, and bytes, dates, times, decimals and UUIDs of Parquet, for JSON."""
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (date, time, timedelta, Decimal, UUID)):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _JSON.encode(value)


def _csv_line(cells: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "surrogateescape")


# A module constant, because `json.dumps` with these arguments would make an encoder for each row.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)

formatter_of: dict[str, Callable[[list[str] | None], Lines | Cells]] = {
    "jsonl": lambda _: Lines(),
    "csv": Cells,
    "parquet": lambda _: Lines(),  # the lines are converted to Parquet at the end
}
