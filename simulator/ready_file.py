"""The ready file: written whole when everything listens, held while the simulator lives, removed when it ends.

It replaces nothing but a ready file of a simulator that is dead, or an empty file. The simulator holds a lock on it, so
that a file without an owner is known even when another process has its pid by now.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat

TYPE_CHECKING = False  # `typing` is slow to import, and a stale file must go before anything slow
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
    """A ready file that cannot be written; the text says where and why."""


class ReadyFile:
    """One ready file.

    Args:
        path: Where.
        nonce: What tells this simulator from any other; `publish` puts it into the file.
    """

    def __init__(self, path: Path, nonce: str) -> None:
        self.path = path
        self.nonce = nonce
        self._descriptor = -1

    def prepare(self) -> None:
        """Make way for the file before anything listens, and try out whether its folder can be written to.

        Raises:
            ReadyFileError: The path has something that is not ours to replace, or nothing can be written there.
        """
        try:
            self._make_way()
            descriptor, draft = self._draft()
            os.close(descriptor)
            os.unlink(draft)  # noqa: PTH108
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from error

    def publish(self, content: dict[str, Any]) -> None:
        """Write the file, whole: whoever sees it can read it.

        Raises:
            ReadyFileError: It cannot be written; nothing is left behind.
        """
        data = json.dumps({**content, "nonce": self.nonce}).encode() + b"\n"
        draft = ""
        try:
            self._descriptor, draft = self._draft()
            with open(self._descriptor, "wb", closefd=False) as file:
                file.write(data)
            with contextlib.suppress(OSError):  # some file systems have no locks; then the pid must do
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
        """Remove the file, if it is still the one that was published here; again and again without harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        with contextlib.suppress(OSError):
            is_same = os.path.samestat(os.lstat(self.path), os.fstat(descriptor))
            if is_same and self.nonce.encode() in os.pread(descriptor, _MAX_BYTES, 0):
                os.unlink(self.path)  # noqa: PTH108
        os.close(descriptor)

    def _draft(self) -> tuple[int, str]:
        """A new file of a name that cannot be guessed, which only we can read (O_EXCL, O_NOFOLLOW, mode 600)."""
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
            raise self._failed("there is another file, which is no ready file; remove it or name another path")
        raise self._failed(f"a simulator that runs has written it (pid {content.get('pid')}, {content.get('url')})")

    def _place(self, draft: str) -> None:
        """Give the draft its name, which nothing may have: a link fails where a rename would replace."""
        try:
            os.link(draft, self.path)
        except FileExistsError:
            raise self._failed("something else has been written there meanwhile") from None
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            os.rename(draft, self.path)  # noqa: PTH104

    def _failed(self, why: str) -> ReadyFileError:
        self.discard()
        return ReadyFileError(f"cannot write the ready file {self.path}: {why}")


def remove_stale(path: str | Path) -> bool:
    """Remove the ready file of a simulator that is dead; whether there was one. Never raises for what it finds."""
    try:
        is_regular = stat.S_ISREG(os.lstat(path).st_mode)
        return is_regular and _remove_if_stale(path)
    except (OSError, ValueError):
        return False


def remove_stale_in(arguments: Sequence[str]) -> None:
    """Remove the stale ready file that a command line names: whoever waits for the new one must not take it for that.

    Called before the command line is parsed, because that and what comes after it take their time.
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
    """What a ready file says; `None` when it is none."""
    try:
        content = json.loads(os.pread(descriptor, _MAX_BYTES, 0))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and ("url" in content or "pid" in content) else None


def _has_owner(descriptor: int, content: dict[str, Any]) -> bool:
    """Whether the simulator that has written the file lives."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # no locks here: ask for the pid
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
        pass  # somebody else's process
    return True
