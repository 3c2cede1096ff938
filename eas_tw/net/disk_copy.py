"""A copy of the list on disk, for a start without discovery.

There is one JSON file for each endpoint and service, in a directory that the user chooses, replaced atomically by
rename. A file is read only when `init` has received no list from discovery. An unusable file is logged and ignored. A
path that is not a regular file is neither read nor replaced.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from eas_tw.policy.instances import MAX_INSTANCES, checked_instance, is_same_list
from eas_tw.policy.json_rows import loads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eas_tw.policy.instances import Instance

_log = Logger(namespace="eas_tw.discovery")

FORMAT = "eas_tw list of instances, 1"
REFRESH_S = 60.0
"""Seconds after which an unchanged list is written again, so that the copy's age shows when discovery last answered."""

_MAX_BYTES = 4 * 2**20
"""Maximum size of a file; 10,000 instances with the longest valid names take 3 MB."""

# `datetime` cannot format times from the year 10000 on, so a number this large is not accepted as a time.
_YEAR_10000 = 253_402_300_800.0


class Copy(NamedTuple):
    """The content of a copy.

    Attributes:
        instances: The list; at least one weight is above 0.
        age_s: Seconds since the copy was written, ≥ 0.
    """

    instances: tuple[Instance, ...]
    age_s: float


class DiskCopy:
    """The disk copy of one service's list.

    Args:
        directory: The directory, which is created if it is missing.
        endpoint: The endpoint; part of the file's name.
        service: The service; part of the file's name.
    """

    def __init__(self, directory: str, endpoint: str, service: str) -> None:
        self._key = {"format": FORMAT, "endpoint": endpoint, "service": service}
        digest = blake2b(f"{endpoint}\0{service}".encode(), digest_size=8).hexdigest()
        self.file = Path(directory) / f"{service.replace('/', '.')}-{digest}.json"
        self._saved: tuple[Instance, ...] = ()
        self._saved_at = float("-inf")

    def save(self, instances: Iterable[Instance], now: float, wall_now: float) -> None:
        """Write the list if it has changed, or was written more than `REFRESH_S` ago; an `OSError` is logged.

        Args:
            instances: The list.
            now: The time in seconds of a monotonic clock, to measure `REFRESH_S`.
            wall_now: The time in seconds since the epoch, which is written to the file.
        """
        instances = tuple(instances)
        if is_same_list(instances, self._saved) and now - self._saved_at < REFRESH_S:
            return
        self._saved, self._saved_at = instances, now
        rows = [{**row._asdict(), **({"app": row.app} if row.app else {})} for row in instances]
        text = json.dumps({**self._key, "saved_at": wall_now, "instances": rows})
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            _replace(self.file, text.encode())
        except OSError as error:
            _log.warn("the list of instances could not be copied to {file}: {error}", file=str(self.file), error=error)

    def load(self, wall_now: float) -> Copy | None:
        """Read the list that was last written; `None` when there is no usable copy.

        Args:
            wall_now: The time in seconds since the epoch.
        """
        try:
            return self._parse(loads(_read(self.file).decode("utf-8")), wall_now)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warn("the copy of the list in {file} is ignored: {error}", file=str(self.file), error=error)
            return None

    def _parse(self, found: Any, wall_now: float) -> Copy:
        if not isinstance(found, dict) or any(found.get(name) != value for name, value in self._key.items()):
            raise ValueError("it is not a list of this endpoint and service")
        rows, saved_at = found.get("instances"), found.get("saved_at")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("its instances are not a list of rows")
        if len(rows) > MAX_INSTANCES:
            raise ValueError(f"it has {len(rows)} instances, more than {MAX_INSTANCES}")
        if isinstance(saved_at, bool) or not isinstance(saved_at, int | float) or not 0 <= saved_at < _YEAR_10000:
            raise ValueError("it does not say when it was written")
        instances = tuple(map(checked_instance, rows))
        if not any(instance.weight > 0 for instance in instances):
            raise ValueError("it has no instance with a weight above 0")
        return Copy(instances, max(0.0, wall_now - saved_at))


def _read(file: Path) -> bytes:
    """Read a regular file of bounded size.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not a regular file, or too large.
    """
    # O_NONBLOCK, because opening a FIFO for reading otherwise blocks until another process opens it for writing.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        content = opened.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
    return content


def _replace(file: Path, content: bytes) -> None:
    """Replace a file atomically, even if other processes replace it at the same time.

    The new file is not synced, because a sync could block the reactor for long. After a power failure the file may
    be empty or incomplete; `load` ignores such a file.

    Raises:
        OSError: The file cannot be written, or the old one is not a regular file.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(file.lstat().st_mode):
            raise FileExistsError("the existing path is not a regular file, and is not replaced")
    # The name is random, because containers that share a volume may have processes with the same pid.
    draft = file.with_name(f"{file.name}.{os.getpid()}-{os.urandom(8).hex()}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
        draft.replace(file)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
