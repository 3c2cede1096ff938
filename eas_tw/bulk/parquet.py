"""Parquet output: rows are collected as JSON Lines, and converted when there are no further rows.

A Parquet file is unreadable without its footer, which is written last, so rows that were appended to it would be lost
when the process is killed. JSON Lines are not lost, and the conversion can be repeated.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from eas_tw import BodyError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROWS_PER_GROUP = 10_000


def parquet_module() -> Any:
    """Import `pyarrow.parquet`.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'eas-tw[parquet]'") from None
    return pyarrow.parquet


def convert(lines: Path, output: Path) -> None:
    """Convert JSON Lines to a Parquet file, in bounded memory.

    The file is written under another name and renamed when it is complete.

    Args:
        lines: The file with an object in each line.
        output: The Parquet file.

    Raises:
        BodyError: The rows have no common schema, for example because a column has numbers and text, or a value has no
            type of Parquet, such as an empty object.
    """
    import pyarrow as pa  # noqa: PLC0415  an optional dependency

    parquet = parquet_module()
    unfinished = output.with_name(f"{output.name}.unfinished")
    try:
        schema = pa.schema([])
        for rows in _groups(lines):
            # Two passes, because the type of a column may appear only in the last rows.
            found = _table(pa, rows).schema
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        with parquet.ParquetWriter(unfinished, schema) as writer:
            for rows in _groups(lines):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    except (pa.ArrowException, OverflowError, ValueError) as error:  # OverflowError for an int of more than 64 bits
        raise BodyError(
            f"the outputs cannot be written as Parquet: {error}; they are in {lines}, as JSON Lines"
        ) from error
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(output)


def _table(pa: Any, rows: list[dict[str, Any]]) -> Any:
    """Return a table with the columns of all rows; `Table.from_pylist` would use those of the first row only."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _groups(lines: Path) -> Iterator[list[dict[str, Any]]]:
    rows = []
    with lines.open("rb") as file:
        for line in file:
            rows.append(json.loads(line))
            if len(rows) == _ROWS_PER_GROUP:
                yield rows
                rows = []
    if rows:
        yield rows
