"""A copy of the list on disk, for a start without discovery.

One JSON file per endpoint and service in a directory of the user's, written whole by rename. It is read only when
`init` found nobody to ask; whatever is wrong with it is one line in the log, and no list. What stands at its path and
is no regular file is neither opened for longer than a look nor replaced.
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

from eas_tw.policy.instances import MAX_INSTANCES, checked_instance
from eas_tw.policy.json_rows import loads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eas_tw.policy.instances import Instance

_log = Logger(namespace="eas_tw.discovery")

FORMAT = "eas_tw list of instances, 1"
REFRESH_S = 60.0
"""A list that does not change is written again after this long, so that its age tells when discovery was last seen."""

_MAX_BYTES = 4 * 2**20
"""Of a file. The longest list there is, of the longest names there are, has 3 MB."""

_YEAR_10000 = 253_402_300_800.0


class Copy(NamedTuple):
    """A list as it was.

    Attributes:
        instances: At least one of them with a weight above 0.
        age_s: Since it was written.
    """

    instances: tuple[Instance, ...]
    age_s: float


class DiskCopy:
    """The copy of one service's list.

    Args:
        directory: Made when it is missing.
        endpoint: Part of the key.
        service: Part of the key.
    """

    def __init__(self, directory: str, endpoint: str, service: str) -> None:
        self._key = {"format": FORMAT, "endpoint": endpoint, "service": service}
        digest = blake2b(f"{endpoint}\0{service}".encode(), digest_size=8).hexdigest()
        self.file = Path(directory) / f"{service.replace('/', '.')}-{digest}.json"
        self._saved: tuple[Instance, ...] = ()
        self._saved_at = float("-inf")

    def save(self, instances: Iterable[Instance], now: float, wall_now: float) -> None:
        """Write the list if it has changed or was written long ago; a full or read-only disk is one line in the log.

        Args:
            instances: The list.
            now: Seconds of elapsed time, by which it is decided whether to write again.
            wall_now: Seconds since the epoch, which are written.
        """
        instances = tuple(instances)
        if instances == self._saved and now - self._saved_at < REFRESH_S:
            return
        self._saved, self._saved_at = instances, now
        rows = [{"ip": row.ip, "port": row.port, "weight": row.weight} for row in instances]
        text = json.dumps({**self._key, "saved_at": wall_now, "instances": rows})
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            _replace(self.file, text.encode())
        except OSError as error:
            _log.warn("the list of instances could not be copied to {file}: {error}", file=str(self.file), error=error)

    def load(self, wall_now: float) -> Copy | None:
        """The list as it was last written; `None` when there is none that can be used.

        Args:
            wall_now: Seconds since the epoch.
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
    """The content of a regular file of bounded size.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file, or too large.
    """
    # Without waiting: to open a FIFO for reading waits for somebody who opens it for writing.
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
    """Put a new file in the place of an old one, whole or not at all, whoever else does the same.

    It is not synced: after a power failure the file may be empty or torn, which `load` takes for no copy, and a sync
    would hold up the reactor for as long as the disk takes.

    Raises:
        OSError: The file cannot be written, or what is in its place is no regular file.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(file.lstat().st_mode):
            raise FileExistsError("what is there is not a regular file, and is left alone")
    # A name of its own for each write: two processes may have the same id, in two containers with one volume.
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
