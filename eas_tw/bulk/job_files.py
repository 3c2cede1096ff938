"""`JobFiles`: the output, the error rows and the journal of a job, which are kept consistent with each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from eas_tw import ConfigError
from eas_tw.bulk.inputs import STDIN, is_device
from eas_tw.bulk.journal import Journal, Progress
from eas_tw.bulk.outputs import AppendedFile, formatter_of, sync_folder
from eas_tw.bulk.parquet import convert, parquet_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eas_tw.bulk.outputs import Cells, Lines


class JobFiles:
    """The files that a job writes.

    Args:
        output: The output; `-` for standard output, which has no journal. Neither has a device or a pipe.
        errors: The file of error rows, JSON Lines. It is created with the first error row.
        kind: The format of the output: `jsonl`, `csv` or `parquet`.

    Attributes:
        progress: The progress of the job.
        formatter: The object that makes the lines of the output; `begin` sets it.
    """

    formatter: Lines | Cells
    _output: AppendedFile
    _errors: AppendedFile

    def __init__(self, output: str, errors: str, kind: str) -> None:
        self._path = output
        self._kind = kind
        self._errors_path = errors
        self._lines_path = f"{output}.rows" if kind == "parquet" else output
        self.journal_path = None if output == STDIN or is_device(output) else Path(f"{output}.journal")
        self._journal: Journal | None = None
        self._is_overwriting = False
        self.progress = Progress()

    def check(self, facts: dict[str, dict[str, Any]], *, resume: bool, overwrite: bool) -> None:
        """Check that the files may be written, without creating any; open the journal if a job is resumed.

        Args:
            facts: Values that must be the same when the job is resumed; see `Journal.begin`.
            resume: Whether a job that has begun may be resumed.
            overwrite: Whether the files of another job may be removed.

        Raises:
            ConfigError: The files may not be written; the message states what to do.
        """
        if self._kind == "parquet":
            parquet_module()
        if self.journal_path is None:
            if resume:
                raise ConfigError(f"--resume needs an --output that is a file, because {self._path} has no journal")
            return
        if not Path(self._path).parent.is_dir():
            raise ConfigError(f"there is no folder {Path(self._path).parent} for the --output")
        if overwrite:
            self._is_overwriting = True
            return
        if self.journal_path.exists():
            if not resume:
                raise ConfigError(
                    f"{self.journal_path} is of a job that has begun: --resume goes on with it, --overwrite begins anew"
                )
            self._open_journal(facts)
            return
        for path in (self._path, self._errors_path):
            if Path(path).exists() and not is_device(path):
                raise ConfigError(
                    f"{path} exists and has no journal, so it cannot be resumed: give another name, or --overwrite"
                )

    def begin(self, facts: dict[str, dict[str, Any]]) -> None:
        """Create the files, or truncate them to the lengths in the journal.

        Args:
            facts: As for `check`.

        Raises:
            ConfigError: A file is shorter than recorded in the journal, or the journal cannot be opened.
            CannotWrite: A file cannot be opened.
        """
        columns = None
        if self.journal_path is not None:
            if self._is_overwriting:
                self._remove()
            columns = (self._journal or self._open_journal(facts)).get("columns")
        self.formatter = formatter_of[self._kind](columns)
        try:
            self._output = AppendedFile(self._lines_path, self.progress.output_bytes)
            self._errors = AppendedFile(self._errors_path, self.progress.error_bytes)
        except ValueError as error:
            raise ConfigError(f"{error}: it was changed, so the job cannot be resumed") from None
        self._output.cut()
        self._errors.cut()

    def commit(self, outputs: Sequence[bytes], errors: Sequence[bytes], digest: bytes) -> None:
        """Write the outputs of the next rows, then record them in the journal.

        Args:
            outputs: The lines of outputs.
            errors: The lines of error rows.
            digest: A hash of all rows of the input up to the last of these rows.

        Raises:
            CannotWrite: A file cannot be written to.
        """
        is_new = not self.progress.output_bytes
        header = self.formatter.header if is_new and outputs else b""
        self._output.append(header + b"".join(outputs))
        self._errors.append(b"".join(errors))
        before = self.progress
        self.progress = Progress(
            rows=before.rows + len(outputs) + len(errors),
            digest=digest,
            output_bytes=self._output.length,
            error_bytes=self._errors.length,
            failed=before.failed + len(errors),
        )
        if self._journal is None:
            return
        if is_new:
            self._journal.put("columns", getattr(self.formatter, "columns", None))
            sync_folder(Path(self._path).absolute())
        self._journal.record(self.progress)

    def finish(self, *, is_complete: bool) -> None:
        """Complete the output file; for Parquet, convert the collected rows.

        Args:
            is_complete: Whether all rows of the input are done; then the journal is marked as finished.
        """
        if self._journal is None or self.progress.is_finished:
            return
        self._output.open()  # a job without outputs has an empty file
        if self._kind == "parquet":
            convert(Path(self._lines_path), Path(self._path))
        sync_folder(Path(self._path).absolute())
        if not is_complete:
            return
        self.progress = evolve(self.progress, is_finished=True)
        self._journal.record(self.progress)
        if self._kind == "parquet":
            Path(self._lines_path).unlink()

    def close(self) -> None:
        """Close the files."""
        for name in ("_output", "_errors"):
            if hasattr(self, name):
                getattr(self, name).close()
        if self._journal is not None:
            self._journal.close()

    def _open_journal(self, facts: dict[str, dict[str, Any]]) -> Journal:
        journal = Journal(Path(f"{self._path}.journal"))
        try:
            journal.begin(facts)
        except BaseException:
            journal.close()
            raise
        self._journal = journal
        self.progress = journal.progress
        return journal

    def _remove(self) -> None:
        """Remove the files of an earlier job.

        Raises:
            ConfigError: Another process is writing the files.
        """
        journal = Path(f"{self._path}.journal")
        if journal.exists():
            Journal(journal).close()  # raises an error if another process has locked it
        # The journal is removed first: files without a journal are never resumed, even if this process is killed here.
        for path in (str(journal), self._path, self._errors_path, self._lines_path):
            if not is_device(path):
                Path(path).unlink(missing_ok=True)
