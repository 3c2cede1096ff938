"""The input rows of a job on the command line, without the rows that are done, and their hashes for the journal."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.bulk.rows import NOT_READY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eas_tw.bulk.inputs import InputRow, RowReader
    from eas_tw.bulk.journal import Progress

_READ_AHEAD = 1024
_END = object()


def remaining_rows(reader: RowReader, progress: Progress, limit: int | None) -> Iterator[InputRow]:
    """Return the rows that are not done yet.

    Args:
        reader: The file.
        progress: The progress of the job; the rows that are done are skipped.
        limit: The maximum number of rows of the whole job, ≥ 1; `None` for all.

    Raises:
        ConfigError: The rows that are done have changed in the input, or are missing.
    """
    rows = reader.rows()
    last: InputRow | None = None
    for last in islice(rows, progress.rows):  # noqa: B007  its last value is used below
        pass
    if progress.rows and (last is None or last.position != progress.rows - 1):
        raise ConfigError(f"{progress.rows} rows are done, but the input has fewer: it is not the input of this job")
    if last is not None and last.digest != progress.digest:
        raise ConfigError(f"the first {progress.rows} rows of the input have changed since they were scored")
    return rows if limit is None else islice(rows, max(0, limit - progress.rows))


class DigestedRows:
    """An iterator of rows that stores the hash of each row until its output is written.

    Args:
        rows: An iterator of rows; it may return `NOT_READY`.
    """

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows
        self._digests: deque[bytes] = deque()

    def __iter__(self) -> DigestedRows:
        return self

    def __next__(self) -> Any:
        row = next(self._rows)
        if row is not NOT_READY:
            self._digests.append(row.digest)
        return row

    def written(self, count: int) -> bytes:
        """Return the hash of all rows up to the last of the rows that were just written; remove their stored hashes.

        Args:
            count: The number of rows that were written, ≥ 1.
        """
        for _ in range(count - 1):
            self._digests.popleft()
        return self._digests.popleft()


class RowsOfThread:
    """An iterator of rows that a thread reads, because reading standard input would block the reactor.

    Args:
        rows: The rows, which the thread reads after `start`.
        wake: A function that the thread calls when a row has arrived after the iterator returned `NOT_READY`.
    """

    def __init__(self, rows: Iterator[InputRow], wake: Callable[[], None]) -> None:
        self._rows = rows
        self._wake = wake
        self._queue: Queue[Any] = Queue(_READ_AHEAD)
        self._is_waiting = False

    def start(self) -> None:
        """Start the thread, which is a daemon thread, so that the program can end while the thread waits for a row."""
        threading.Thread(target=self._read, name="eas_tw standard input", daemon=True).start()

    def __iter__(self) -> RowsOfThread:
        return self

    def __next__(self) -> Any:
        # The flag is set before the queue is checked, so that a row that arrives after the check wakes the job.
        self._is_waiting = True
        try:
            row = self._queue.get_nowait()
        except Empty:
            return NOT_READY
        self._is_waiting = False
        if row is _END:
            self._queue.put(_END)
            raise StopIteration
        if isinstance(row, BaseException):
            raise row
        return row

    def _read(self) -> None:
        end: Any = _END
        try:
            for row in self._rows:
                self._put(row)
        except Exception as error:  # noqa: BLE001  raised again by `__next__`
            end = error
        self._put(end)

    def _put(self, row: Any) -> None:
        self._queue.put(row)
        if self._is_waiting:
            self._is_waiting = False
            self._wake()
