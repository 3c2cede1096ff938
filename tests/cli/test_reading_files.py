"""Files that cannot be read, or have no end, are errors of one line that name the file."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from eas_tw import ConfigError
from eas_tw.cli import predict, settings
from eas_tw.cli.main import NO_INPUT, main
from eas_tw.cli.perf.keys import keyed


class Unreadable(io.BytesIO):
    """A file whose reads fail, as those of a terminal in a background job do."""

    def read(self, _: Any = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(("words", "name"), [((), "standard input"), (("--file", "body.bin"), "body.bin")])
def test_input_that_cannot_be_read_is_not_reported_as_output(
    words: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _: Unreadable().read())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Unreadable()))
    assert main(["predict", "--endpoint", "http://127.0.0.1:1", "--service", "s", *words]) == NO_INPUT
    assert capsys.readouterr().err == f"eas-tw: {name}: Input/output error\n"


@pytest.mark.parametrize("name", ["token_file", "config"])
def test_a_device_without_an_end_is_a_config_error(name: str) -> None:
    given: Any = {"config": None, "profile": None, "endpoint": "http://127.0.0.1:1", "service": "s", name: "/dev/zero"}
    with pytest.raises(ConfigError, match="/dev/zero is larger than 1048576 bytes"):
        settings.read(argparse.Namespace(**given), {})


def test_keys_that_are_not_text_are_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"user-1\nuser-\xff\n")
    with pytest.raises(ConfigError, match="keys is not text in UTF-8 at byte 12"):
        keyed([b"x"], str(tmp_path / "keys"))


def test_a_body_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    options: Any = argparse.Namespace(file=None, body=None)
    assert predict._body(options) == b"\xff"
