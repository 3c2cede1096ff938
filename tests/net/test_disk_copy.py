"""The disk copy of the list: writing, reading, and copies that are ignored."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from eas_tw import Instance
from eas_tw.net.disk_copy import FORMAT, REFRESH_S, Copy, DiskCopy
from eas_tw.policy.instances import MAX_INSTANCES

ROWS = (Instance("10.0.0.1", 80, 5), Instance("10.0.0.2", 80, 0))


@pytest.fixture
def copy(tmp_path: Path) -> DiskCopy:
    return DiskCopy(str(tmp_path / "made" / "when missing"), "http://e", "group/svc")


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Collect the log lines."""
    lines: list[str] = []

    def note(event: dict[str, Any]) -> None:
        lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(note)
    yield lines
    globalLogPublisher.removeObserver(note)


def test_a_copy_is_read_with_its_age(copy: DiskCopy) -> None:
    assert copy.load(100.0) is None
    copy.save(ROWS, 100.0, 100.0)
    assert copy.load(130.0) == Copy(ROWS, 30.0)
    assert copy.load(50.0) == Copy(ROWS, 0.0)
    assert list(copy.file.parent.iterdir()) == [copy.file]


def test_a_copy_has_the_applications_of_the_instances(copy: DiskCopy) -> None:
    """A filter or balancer of the program may use the applications, also after a start without discovery."""
    rows = (ROWS[0]._replace(app="canary"), ROWS[1])
    copy.save(rows, 100.0, 100.0)
    loaded = copy.load(100.0)
    assert loaded is not None
    assert [instance.app for instance in loaded.instances] == ["canary", ""]
    copy.save(ROWS, 101.0, 101.0)
    loaded = copy.load(101.0)
    assert loaded is not None
    assert [instance.app for instance in loaded.instances] == ["", ""]


def test_a_copy_is_written_when_the_list_changes_or_the_copy_is_old(copy: DiskCopy) -> None:
    copy.save(ROWS, 100.0, 100.0)
    copy.save(ROWS, 101.0, 101.0)
    assert copy.load(101.0) == Copy(ROWS, 1.0)
    copy.save(ROWS[:1], 102.0, 102.0)
    assert copy.load(102.0) == Copy(ROWS[:1], 0.0)
    copy.save(ROWS[:1], 102.0 + REFRESH_S, 102.0 + REFRESH_S)
    assert copy.load(102.0 + REFRESH_S) == Copy(ROWS[:1], 0.0)


def test_each_service_and_endpoint_has_its_own_copy(copy: DiskCopy) -> None:
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
        "[" * 200_000,
        json.dumps(GOOD)[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        json.dumps(GOOD)[:-1] + ', "saved_at": ' + "1" * 5_000 + "}",
        json.dumps(GOOD)[:60],
        *(json.dumps({**GOOD, **wrong}) for wrong in (
            {"format": "eas_tw list of instances, 2"},
            {"endpoint": "http://f"},
            {"service": "svc"},
            {"saved_at": None},
            {"saved_at": True},
            {"saved_at": float("nan")},
            {"saved_at": float("inf")},
            {"saved_at": -1.0},
            {"saved_at": 10**400},
            {"saved_at": 9e18},
            {"instances": [{"ip": "10.0.0.1", "port": 80, "weight": 1}] * (MAX_INSTANCES + 1)},
            {"x": "x" * 2**22},
            {"instances": []},
            {"instances": {}},
            {"instances": [1]},
            {"instances": [{"ip": "10.0.0.1", "port": 80, "weight": 0}]},
            {"instances": [{"ip": "10.0.0.1", "port": 80, "weight": 1}, {"ip": "x y", "port": 80, "weight": 1}]},
        )),
    ],
)  # fmt: skip
def test_an_unusable_copy_is_ignored_with_one_line(copy: DiskCopy, said: list[str], text: str) -> None:
    copy.file.parent.mkdir(parents=True)
    copy.file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert copy.load(2.0) is None
    assert len(said) == 1
    assert str(copy.file) in said[0]
    copy.file.write_text(json.dumps(GOOD))
    assert copy.load(2.0) == Copy((Instance("10.0.0.1", 80, 1),), 1.0)


def test_a_failed_write_is_logged_in_one_line(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    DiskCopy(str(tmp_path / "file"), "http://e", "svc").save(ROWS, 0.0, 0.0)
    assert len(said) == 1
    assert "could not be copied" in said[0]


def fifo(file: Path) -> None:
    os.mkfifo(file)


def directory(file: Path) -> None:
    file.mkdir()


def socket_file(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(file.parent):  # a whole path may be too long
        made.bind(file.name)


def device(file: Path) -> None:
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [fifo, directory, socket_file, device])
def test_a_file_that_is_not_regular_is_neither_read_nor_replaced(
    copy: DiskCopy, said: list[str], make: Callable[[Path], None]
) -> None:
    """A FIFO without a writer blocks its reader, and some devices can be read without end."""
    copy.file.parent.mkdir(parents=True)
    make(copy.file)
    before = copy.file.lstat()
    assert copy.load(2.0) is None
    copy.save(ROWS, 0.0, 0.0)
    assert len(said) == 2
    assert all(str(copy.file) in line for line in said)
    assert copy.file.lstat().st_ino == before.st_ino
    assert list(copy.file.parent.iterdir()) == [copy.file]


def test_a_symbolic_link_is_read_and_not_replaced(copy: DiskCopy, said: list[str]) -> None:
    copy.file.parent.mkdir(parents=True)
    behind = copy.file.with_name("behind")
    behind.write_text(json.dumps(GOOD))
    copy.file.symlink_to(behind)
    assert copy.load(2.0) == Copy((Instance("10.0.0.1", 80, 1),), 1.0)
    copy.save(ROWS, 0.0, 0.0)
    assert len(said) == 1
    assert copy.file.is_symlink()


def test_temporary_files_of_other_processes_stay(copy: DiskCopy) -> None:
    copy.file.parent.mkdir(parents=True)
    other = copy.file.with_name(f"{copy.file.name}.{os.getpid()}.part")
    other.write_text("half of a li")
    for number in range(3):
        copy.save(ROWS, number * REFRESH_S, 1.0)
    assert other.read_text() == "half of a li"
    assert sorted(copy.file.parent.iterdir()) == [copy.file, other]


def test_a_failed_write_leaves_no_temporary_file(copy: DiskCopy, said: list[str]) -> None:
    copy.save(ROWS, 0.0, 1.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        copy.save(ROWS[:1], 1.0, 2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(said) == 1
    assert list(copy.file.parent.iterdir()) == [copy.file]
    assert copy.load(1.0) == Copy(ROWS, 0.0)


def test_an_unreadable_copy_is_one_line(copy: DiskCopy, said: list[str]) -> None:
    copy.file.parent.mkdir(parents=True)
    copy.file.symlink_to(copy.file)
    assert copy.load(2.0) is None
    assert len(said) == 1
