"""The journal of a job: it records which rows are in the output, so that a killed job can be resumed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eas_tw import ConfigError
from eas_tw.bulk.errors import CannotWrite
from eas_tw.display import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VERSION = 1


@frozen
class Progress:
    """The progress of a job.

    Attributes:
        rows: The number of rows, from the beginning of the input, whose outputs or error rows are in the files.
        digest: A hash of these rows.
        output_bytes: The length of the output with these rows, in bytes.
        error_bytes: The length of the file of error rows, in bytes.
        failed: The number of error rows.
        is_finished: Whether all rows of the input are done.
    """

    rows: int = 0
    digest: bytes = b""
    output_bytes: int = 0
    error_bytes: int = 0
    failed: int = 0
    is_finished: bool = False


class Journal:
    """A journal in a SQLite file.

    The output and the error rows are flushed to the disk before the journal records their lengths. So the files may be
    longer than recorded, but not shorter; a job that is resumed truncates them.

    The journal is locked while it is open. The operating system removes the lock when the process ends.

    Args:
        path: The file; it is created if it does not exist.

    Raises:
        ConfigError: The file is not a journal, or another process has opened it.
        CannotWrite: The file cannot be written to, for example because of its permissions.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._naming_the_file():
            # The reactor thread and a writing thread use the connection, but never at the same time.
            self._database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with self._naming_the_file():
                self._open()
        except BaseException:
            self._database.close()
            raise

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Convert the errors of SQLite, which do not contain the name of the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ConfigError(f"another process is writing this output: {self._path} is locked") from None
            raise CannotWrite(None, str(error), str(self._path)) from None
        except sqlite3.Error as error:
            raise ConfigError(f"{self._path} is not a journal of eas-tw: {error}") from None

    def _open(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        # A power failure may undo the last transactions. Then the files are longer than recorded, which is allowed.
        run("PRAGMA synchronous = NORMAL")
        run("BEGIN IMMEDIATE")
        run("CREATE TABLE IF NOT EXISTS job (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        run(
            "CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY CHECK (id = 1), rows INTEGER NOT NULL, "
            "digest BLOB NOT NULL, output_bytes INTEGER NOT NULL, error_bytes INTEGER NOT NULL, "
            "failed INTEGER NOT NULL, is_finished INTEGER NOT NULL)"
        )
        run("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def progress(self) -> Progress:
        """The recorded progress of the job."""
        with self._naming_the_file(), closing(self._database.execute("SELECT * FROM progress")) as found:
            row = found.fetchone()
        if row is None:
            return Progress()
        _, rows, digest, output_bytes, error_bytes, failed, is_finished = row
        return Progress(rows, digest, output_bytes, error_bytes, failed, bool(is_finished))

    def record(self, progress: Progress) -> None:
        """Record the progress of the job, in one transaction.

        Raises:
            CannotWrite: The file cannot be written to.
        """
        with self._naming_the_file():
            self._database.execute(
                "INSERT OR REPLACE INTO progress VALUES (1, ?, ?, ?, ?, ?, ?)",
                (
                    progress.rows,
                    progress.digest,
                    progress.output_bytes,
                    progress.error_bytes,
                    progress.failed,
                    progress.is_finished,
                ),
            )

    def get(self, name: str) -> Any:
        """Return a value that `put` has stored; `None` if there is none."""
        query = "SELECT value FROM job WHERE name = ?"
        with self._naming_the_file(), closing(self._database.execute(query, (name,))) as found:
            row = found.fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, name: str, value: Any) -> None:
        """Store a value that can be written as JSON.

        Raises:
            CannotWrite: The file cannot be written to.
        """
        with self._naming_the_file():
            self._database.execute("INSERT OR REPLACE INTO job VALUES (?, ?)", (name, json.dumps(value)))

    def begin(self, facts: dict[str, dict[str, Any]]) -> None:
        """Store the facts of a new job, or compare them with the stored facts of a job that is resumed.

        Args:
            facts: Values that must be the same when a job is resumed, by topic, such as `{"input": {"bytes": 5}}`.

        Raises:
            ConfigError: The journal is that of another job; the message lists all differences.
        """
        facts = {"journal": {"version": _VERSION}, **facts}
        before = self.get("facts")
        if before is None:
            self.put("facts", facts)
            return
        differences = [
            f"{topic}: {name} is {shown(now.get(name))}, was {shown(then.get(name))}"
            for topic in sorted({*facts, *before})
            for now, then in [(facts.get(topic, {}), before.get(topic, {}))]
            for name in sorted({*now, *then})
            if now.get(name) != then.get(name)
        ]
        if differences:
            raise ConfigError(
                f"{self._path} is of another job, so it cannot be resumed: {'; '.join(differences)}. "
                "Give another --output, or --overwrite to begin anew"
            )
