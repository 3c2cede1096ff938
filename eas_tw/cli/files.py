"""Check that the files of a command are different files, so that none overwrites another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from eas_tw import ConfigError
from eas_tw.bulk.inputs import STDIN

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_different(written: Mapping[str, str | Path | None], read: Mapping[str, str | Path | None]) -> None:
    """Check that no file that a command writes is also read or written under another name.

    Args:
        written: The files that the command writes, by their names in error messages. `None` and `-` are ignored.
        read: The files that the command reads, in the same form.

    Raises:
        ConfigError: Two of the files are the same, for example because of a link.
    """
    known: list[tuple[str, Path]] = []
    for is_written, files in ((False, read), (True, written)):
        for name, file in files.items():
            if file is None or str(file) == STDIN:
                continue
            for other, path in known if is_written else ():
                if _is_same(path, Path(file)):
                    raise ConfigError(f"{name} and {other} are the same file, {file}: give one of them another name")
            known.append((name, Path(file)))


def _is_same(one: Path, two: Path) -> bool:
    try:
        return one.samefile(two)
    except OSError:  # at least one of the files does not exist yet
        return os.path.realpath(one) == os.path.realpath(two)
