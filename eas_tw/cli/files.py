"""Reading the files of a command, and checking that they are different files, so that none overwrites another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from eas_tw import ConfigError
from eas_tw.bulk.inputs import STDIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_SETTINGS_BYTES = 1 << 20
"""Maximum size of a file with settings or a token, which may also be a pipe, or by mistake a device without an end."""


def read(file: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: The file cannot be read.
    """
    return named(str(file), file.read_bytes)


def read_settings_file(file: Path) -> str:
    """Return the text of a file with settings or a token, without a byte order mark.

    Raises:
        ConfigError: The file is too large.
        UnicodeDecodeError: The file is not text in UTF-8.
        OSError: The file cannot be read.
    """
    with file.open("rb") as opened:
        content = named(str(file), lambda: opened.read(_MAX_SETTINGS_BYTES + 1))
    if len(content) > _MAX_SETTINGS_BYTES:
        raise ConfigError(f"{file} is larger than {_MAX_SETTINGS_BYTES} bytes")
    return content.decode("utf-8-sig")


def named(name: str, read_all: Callable[[], bytes]) -> bytes:
    """Return the result of `read_all`; add `name` to an `OSError`, because a failed read does not name its file."""
    try:
        return read_all()
    except OSError as error:
        error.filename = error.filename or name
        raise


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
