"""The list on disk: what is written, what is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from eas_tw import Instance
from eas_tw.net.disk_copy import FORMAT, REFRESH_S, Copy, DiskCopy

ROWS = (Instance("10.0.0.1", 80, 5), Instance("10.0.0.2", 80, 0))


@pytest.fixture
def copy(tmp_path: Path) -> DiskCopy:
    return DiskCopy(str(tmp_path / "made" / "when missing"), "http://e", "group/svc")


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What was logged."""
    lines: list[str] = []

    def note(event: dict[str, Any]) -> None:
        lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(note)
    yield lines
    globalLogPublisher.removeObserver(note)


def test_it_comes_back_with_its_age(copy: DiskCopy) -> None:
    """Weights and all, and no other file lies around."""
    assert copy.load(100.0) is None
    copy.save(ROWS, 100.0, 100.0)
    assert copy.load(130.0) == Copy(ROWS, 30.0)
    assert copy.load(50.0) == Copy(ROWS, 0.0)
    assert list(copy.file.parent.iterdir()) == [copy.file]


def test_it_is_written_when_it_changes_or_is_old(copy: DiskCopy) -> None:
    """Not after every poll."""
    copy.save(ROWS, 100.0, 100.0)
    copy.save(ROWS, 101.0, 101.0)
    assert copy.load(101.0) == Copy(ROWS, 1.0)
    copy.save(ROWS[:1], 102.0, 102.0)
    assert copy.load(102.0) == Copy(ROWS[:1], 0.0)
    copy.save(ROWS[:1], 102.0 + REFRESH_S, 102.0 + REFRESH_S)
    assert copy.load(102.0 + REFRESH_S) == Copy(ROWS[:1], 0.0)


def test_services_and_endpoints_do_not_mix(copy: DiskCopy) -> None:
    """Each has its own file."""
    folder = str(copy.file.parent)
    copy.save(ROWS, 0.0, 0.0)
    for endpoint, service in (("http://e", "group.svc"), ("http://f", "group/svc")):
        other = DiskCopy(folder, endpoint, service)
        assert other.file != copy.file
        assert other.load(0.0) is None


GOOD = {
    "format": FORMAT, "endpoint": "http://e", "service": "group/svc", "saved_at": 1.0,
    "instances": [{"ip": "10.0.0.1", "port": 80, "weight": 1}],
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\udcff",
        *(json.dumps({**GOOD, **wrong}) for wrong in (
            {"format": "eas_tw list of instances, 2"},
            {"endpoint": "http://f"},
            {"service": "svc"},
            {"saved_at": None},
            {"saved_at": True},
            {"instances": []},
            {"instances": {}},
            {"instances": [1]},
            {"instances": [{"ip": "10.0.0.1", "port": 80, "weight": 0}]},
            {"instances": [{"ip": "10.0.0.1", "port": 80, "weight": 1}, {"ip": "x y", "port": 80, "weight": 1}]},
        )),
    ],
)  # fmt: skip
def test_what_is_foreign_or_broken_is_ignored_with_one_line(copy: DiskCopy, said: list[str], text: str) -> None:
    """The line names the file and says why."""
    copy.file.parent.mkdir(parents=True)
    copy.file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert copy.load(2.0) is None
    assert len(said) == 1
    assert str(copy.file) in said[0]
    copy.file.write_text(json.dumps(GOOD))
    assert copy.load(2.0) == Copy((Instance("10.0.0.1", 80, 1),), 1.0)


def test_a_disk_that_does_not_take_it_is_one_line(tmp_path: Path, said: list[str]) -> None:
    """And no error for anybody."""
    (tmp_path / "file").write_text("in the way")
    DiskCopy(str(tmp_path / "file"), "http://e", "svc").save(ROWS, 0.0, 0.0)
    assert len(said) == 1
    assert "could not be copied" in said[0]
