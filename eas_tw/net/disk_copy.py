"""A copy of the list on disk, for a start without discovery.

One JSON file per endpoint and service in a directory of the user's, written whole by rename. It is read only when
`init` found nobody to ask; whatever is wrong with it is one line in the log, and no list.
"""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from eas_tw.policy.instances import BadRowError, checked_instance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eas_tw.policy.instances import Instance

_log = Logger(namespace="eas_tw.discovery")

FORMAT = "eas_tw list of instances, 1"
REFRESH_S = 60.0
"""A list that does not change is written again after this long, so that its age tells when discovery was last seen."""


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
        part = self.file.with_name(f"{self.file.name}.{os.getpid()}.part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, "utf-8")
            part.replace(self.file)
        except OSError as error:
            _log.warn("the list of instances could not be copied to {file}: {error}", file=str(self.file), error=error)

    def load(self, now: float) -> Copy | None:
        """The list as it was last written; `None` when there is none that can be used."""
        try:
            return self._parse(json.loads(self.file.read_text("utf-8")), now)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, BadRowError) as error:
            _log.warn("the copy of the list in {file} is ignored: {error}", file=str(self.file), error=error)
            return None

    def _parse(self, found: Any, now: float) -> Copy:
        if not isinstance(found, dict) or any(found.get(name) != value for name, value in self._key.items()):
            raise ValueError("it is not a list of this endpoint and service")
        rows, saved_at = found.get("instances"), found.get("saved_at")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("its instances are not a list of rows")
        if isinstance(saved_at, bool) or not isinstance(saved_at, int | float):
            raise ValueError("it does not say when it was written")  # noqa: TRY004  the file is wrong, not the call
        instances = tuple(map(checked_instance, rows))
        if not any(instance.weight > 0 for instance in instances):
            raise ValueError("it has no instance with a weight above 0")
        return Copy(instances, max(0.0, now - saved_at))
