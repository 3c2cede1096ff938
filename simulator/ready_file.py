"""The ready file: written atomically when everything listens, locked while the simulator runs, removed when it ends.

`ReadyFile` replaces only an empty file or the ready file of a simulator that has ended. The lock allows a stale file to
be detected even if another process has the same pid by then.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat

TYPE_CHECKING = False  # `typing` is slow to import, and a stale file must be removed before anything slow
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

_MAX_BYTES = 64 * 2**20
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}
_CANNOT_LINK = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class ReadyFileError(Exception):
    """Raised if the ready file cannot be written; the text has its path and the reason."""


class ReadyFile:
    """One ready file.

    Args:
        path: Path of the file.
        nonce: Random text that identifies this simulator; `publish` writes it to the file.
    """

    def __init__(self, path: Path, nonce: str) -> None:
        self.path = path
        self.nonce = nonce
        self._descriptor = -1

    def prepare(self) -> None:
        """Remove a stale file before anything listens, and check that the folder is writable.

        Raises:
            ReadyFileError: The path has a file that must not be replaced, or the folder is not writable.
        """
        try:
            self._make_way()
            descriptor, draft = self._draft()
            os.close(descriptor)
            os.unlink(draft)  # noqa: PTH108
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from error

    def publish(self, content: dict[str, Any]) -> None:
        """Write the file atomically, so that no program reads an incomplete one.

        Raises:
            ReadyFileError: The file cannot be written; no temporary file remains.
        """
        data = json.dumps({**content, "nonce": self.nonce}).encode() + b"\n"
        draft = ""
        try:
            self._descriptor, draft = self._draft()
            with open(self._descriptor, "wb", closefd=False) as file:
                file.write(data)
            with contextlib.suppress(OSError):  # some file systems have no locks; then the pid is checked
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._make_way()
            self._place(draft)
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from error
        finally:
            if draft:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(draft)  # noqa: PTH108

    def discard(self) -> None:
        """Remove the file, if it is still the file that this object has published; idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        with contextlib.suppress(OSError):
            is_same = os.path.samestat(os.lstat(self.path), os.fstat(descriptor))
            if is_same and self.nonce.encode() in os.pread(descriptor, _MAX_BYTES, 0):
                os.unlink(self.path)  # noqa: PTH108
        os.close(descriptor)

    def _draft(self) -> tuple[int, str]:
        """Create a file with an unpredictable name that only this user can read (O_EXCL, O_NOFOLLOW, mode 600)."""
        import tempfile  # noqa: PLC0415  slow

        folder, name = os.path.split(self.path)
        return tempfile.mkstemp(prefix=f".{name}.", dir=folder or ".")

    def _make_way(self) -> None:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise self._failed(f"it is a {_KINDS.get(stat.S_IFMT(found.st_mode), 'special file')}")
        if found.st_size and not _remove_if_stale(self.path):
            self._refuse()
        elif not found.st_size:
            os.unlink(self.path)  # noqa: PTH108

    def _refuse(self) -> None:
        with self.path.open("rb") as file:
            content = _read(file.fileno())
        if content is None:
            raise self._failed("there is another file, which is not a ready file; remove it or name another path")
        raise self._failed(f"it belongs to a running simulator (pid {content.get('pid')}, {content.get('url')})")

    def _place(self, draft: str) -> None:
        """Link the draft to the final name; a link fails if the name exists, while a rename would replace the file."""
        try:
            os.link(draft, self.path)
        except FileExistsError:
            raise self._failed("another file has been written there meanwhile") from None
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            os.rename(draft, self.path)  # noqa: PTH104

    def _failed(self, why: str) -> ReadyFileError:
        self.discard()
        return ReadyFileError(f"cannot write the ready file {self.path}: {why}")


def remove_stale(path: str | Path) -> bool:
    """Remove the ready file of a simulator that has ended; return whether there was one. Ignore any other file."""
    try:
        is_regular = stat.S_ISREG(os.lstat(path).st_mode)
        return is_regular and _remove_if_stale(path)
    except (OSError, ValueError):
        return False


def remove_stale_in(arguments: Sequence[str]) -> None:
    """Remove the stale ready file that a command line names.

    The function is called before the slow imports and the parsing of the command line. Otherwise a program that waits
    for the new file could read the stale file in the meantime.
    """
    for at, argument in enumerate(arguments):
        if argument.startswith("--ready-file="):
            remove_stale(argument.partition("=")[2])
        elif argument == "--ready-file" and at + 1 < len(arguments):
            remove_stale(arguments[at + 1])


def _remove_if_stale(path: str | Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = _read(descriptor)
        if content is None or _has_owner(descriptor, content):
            return False
        if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
            os.unlink(path)  # noqa: PTH108
        return True
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any] | None:
    """Read a ready file; `None` if the content is not that of a ready file."""
    try:
        content = json.loads(os.pread(descriptor, _MAX_BYTES, 0))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and ("url" in content or "pid" in content) else None


def _has_owner(descriptor: int, content: dict[str, Any]) -> bool:
    """Return whether the simulator that has written the file still runs."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # no locks on this file system: fall back to the pid
    else:
        if "nonce" in content:
            return False
    pid = content.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # EPERM: the process exists and belongs to another user
    return True
