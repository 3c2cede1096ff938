"""The ready file replaces only files of a simulator, is written atomically, and is removed at the end."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eas_tw.testing import SimulatorFailed, subprocess_simulator
from simulator.ready_file import ReadyFile, ReadyFileError, remove_stale, remove_stale_in
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

CONTENT = {"pid": os.getpid(), "url": "http://127.0.0.1:8780"}


def stale(path: Path, **more: Any) -> Path:
    """Write a ready file as a killed simulator leaves it, without a lock."""
    path.write_text(json.dumps({**CONTENT, "nonce": "of-another", **more}))
    return path


def special(path: Path, kind: str) -> None:
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    elif kind == "symbolic link":
        path.symlink_to(path.with_name("precious"))
        path.with_name("precious").write_text("precious")


def left(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def test_the_file_is_complete_private_and_removed_at_the_end(tmp_path: Path) -> None:
    """The file has mode 600 and the nonce. No temporary file is left."""
    file = ReadyFile(tmp_path / "r.json", "n0nce")
    file.prepare()
    assert left(tmp_path) == []
    file.publish(CONTENT)
    assert left(tmp_path) == ["r.json"]
    assert json.loads(file.path.read_text()) == {**CONTENT, "nonce": "n0nce"}
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.discard()
    file.discard()
    assert left(tmp_path) == []


@pytest.mark.parametrize("kind", ["FIFO", "directory", "socket", "symbolic link"])
def test_a_file_that_is_not_regular_is_refused_and_not_removed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "r.json"
    file = ReadyFile(path, "n0nce")
    file.prepare()
    special(path, kind)
    before = os.lstat(path)
    for attempt in (file.prepare, lambda: file.publish(CONTENT)):
        with pytest.raises(ReadyFileError, match=f"cannot write the ready file {path}: it is a {kind}"):
            attempt()
    file.discard()
    assert not remove_stale(path)
    assert os.path.samestat(before, os.lstat(path))
    if kind == "symbolic link":
        assert path.read_text() == "precious"


def test_a_dangling_link_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "r.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReadyFileError, match="symbolic link"):
        ReadyFile(tmp_path / "r.json", "n").prepare()
    assert left(tmp_path) == ["r.json"]


@pytest.mark.parametrize("text", ["precious", "{", "[]", '{"name": "my-package"}', '"url"', "[" * 100_000, " "])
def test_another_file_is_refused_and_not_removed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(ReadyFileError, match="not a ready file; remove it or name another path"):
        ReadyFile(path, "n").prepare()
    assert not remove_stale(path)
    assert path.read_text() == text


def test_a_file_that_appears_during_the_start_is_not_replaced(tmp_path: Path) -> None:
    path, draft = tmp_path / "r.json", tmp_path / "draft"
    path.write_text("precious")
    draft.touch()
    with pytest.raises(ReadyFileError, match="meanwhile"):
        ReadyFile(path, "n")._place(str(draft))
    assert path.read_text() == "precious"


def test_an_empty_file_is_replaced(tmp_path: Path) -> None:
    """`mktemp` creates an empty file."""
    path = tmp_path / "r.json"
    path.touch()
    file = ReadyFile(path, "n")
    file.prepare()
    file.publish(CONTENT)
    file.discard()
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "more",
    [{}, {"pid": 2**22 + 1, "nonce": None}, {"pid": "x"}, {"pid": True}, {"pid": -1}, {"pid": 10**30}],
    ids=["unlocked", "dead", "text", "flag", "negative", "huge"],
)
def test_the_file_of_a_killed_simulator_is_replaced(tmp_path: Path, more: dict[str, Any]) -> None:
    path = stale(tmp_path / "r.json", **more)
    if more.get("nonce", "") is None:
        path.write_text(json.dumps({**CONTENT, "pid": more["pid"]}))
    file = ReadyFile(path, "n")
    file.prepare()
    assert left(tmp_path) == []
    assert not remove_stale(stale(path).with_name("none"))
    assert remove_stale(path)
    assert left(tmp_path) == []


def test_a_file_without_a_nonce_is_in_use_while_its_process_runs(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**CONTENT, "pid": os.getppid()}))
    with pytest.raises(ReadyFileError, match=f"pid {os.getppid()}, http://127.0.0.1:8780"):
        ReadyFile(path, "n").prepare()
    assert not remove_stale(path)


def test_the_file_of_a_running_simulator_is_refused_and_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    first, second = ReadyFile(path, "first"), ReadyFile(path, "second")
    second.prepare()
    first.publish(CONTENT)
    for attempt in (second.prepare, lambda: second.publish(CONTENT)):
        with pytest.raises(ReadyFileError, match="it belongs to a running simulator"):
            attempt()
    second.discard()
    assert json.loads(path.read_text())["nonce"] == "first"
    assert left(tmp_path) == ["r.json"]
    first.discard()
    second.publish(CONTENT)
    second.discard()


@pytest.mark.parametrize("how", ["replaced", "rewritten", "a link"])
def test_a_file_that_was_replaced_is_not_removed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "r.json"
    file = ReadyFile(path, "n0nce")
    file.publish(CONTENT)
    if how == "rewritten":
        path.write_text("mine")
    else:
        path.rename(tmp_path / "moved")
        (path.write_text("mine") if how == "replaced" else path.symlink_to(tmp_path / "moved"))
    file.discard()
    assert os.path.lexists(path)


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """The limit on the size of files simulates a full disk."""
    program = (
        "import resource, sys, pathlib\nfrom simulator.ready_file import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\nfile = ReadyFile(pathlib.Path(sys.argv[1]), 'n')\n"
        "file.prepare()\ntry: file.publish({'url': 'x' * 100})\nexcept ReadyFileError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "r.json")]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)  # noqa: S603
    assert (ended.stderr, ended.stdout) == ("", f"cannot write the ready file {tmp_path}/r.json: File too large\n")
    assert left(tmp_path) == []


def test_a_command_line_names_the_stale_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for arguments in (["serve", "--ready-file", str(path)], [f"--ready-file={path}"]):
        remove_stale_in([*arguments, "--ready-file"])
        stale(path)
        remove_stale_in(["--port", "0", *arguments])
        assert left(tmp_path) == []


# The process


def serve(folder: Path, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulator", "--port", "0", "--service", "echo=1", *arguments]
    streams: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "stdin": subprocess.DEVNULL,
        **more,
    }
    return subprocess.Popen(command, cwd=folder, env=environment(), text=True, **streams)  # noqa: S603


@pytest.mark.parametrize("kind", ["FIFO", "symbolic link", "directory"])
def test_the_command_refuses_before_it_listens(tmp_path: Path, kind: str) -> None:
    """The command prints one line, ends with exit code 2, and does not change the existing file."""
    special(tmp_path / "r.json", kind)
    process = serve(tmp_path, "--ready-file", "r.json")
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (2, "")
    assert errors == f"simulator: cannot write the ready file r.json: it is a {kind}\n"


def test_a_second_simulator_with_the_same_path_is_refused(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        process = serve(tmp_path, "--ready-file", str(served.ready_file))
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        assert f"pid {served.process.pid}" in errors
        assert json.loads(served.ready_file.read_text())["pid"] == served.process.pid
        nonce = served.admin("GET", "/v1/state")[1]["nonce"]
        assert nonce == served.ready["nonce"] != ""
    assert left(tmp_path) == []


def test_a_stale_file_is_removed_at_the_start_of_the_next_simulator(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.process.kill()
        served.process.wait(PATIENCE_S)
        assert served.ready_file.exists()
        with Served(tmp_path) as again:
            assert again.ready["pid"] == again.process.pid
            assert again.ready["nonce"] != served.ready["nonce"]
    assert left(tmp_path) == []


def test_an_old_file_is_not_read_as_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text(json.dumps({"url": "http://127.0.0.1:9", "pid": 1}))
    path.write_text(json.dumps({"url": "http://127.0.0.1:9"}))
    with subprocess_simulator(tmp_path) as remote:
        assert not remote.url.endswith(":9")
    path.write_text("precious")
    with pytest.raises(SimulatorFailed, match="remove it or name another path"), subprocess_simulator(tmp_path):
        pass
    assert path.read_text() == "precious"


def test_no_room_for_the_file_ends_the_process(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    process = serve(tmp_path, "--ready-file", "r.json", preexec_fn=limit)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (1, "simulator: cannot write the ready file r.json: File too large\n")
    assert left(tmp_path) == []


@pytest.mark.parametrize("output", ["pipe", "/dev/full"])
def test_an_output_that_cannot_be_written_ends_the_process(tmp_path: Path, output: str) -> None:
    """With a closed pipe or a full disk, the process prints one line without a traceback, and writes no ready file."""
    if output == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(output, os.O_WRONLY)
    process = serve(tmp_path, "--ready-file", "r.json", stdout=writing)
    os.close(writing)
    _, errors = process.communicate(timeout=PATIENCE_S)
    why = "Broken pipe" if output == "pipe" else "No space left on device"
    assert (process.returncode, errors) == (1, f"simulator: cannot write to standard output: {why}\n")
    assert left(tmp_path) == []


def test_a_pipe_that_is_closed_later_ends_the_process_without_an_error(tmp_path: Path) -> None:
    """`… | head` closes the pipe after some lines."""
    (tmp_path / "story.toml").write_text('[[timeline]]\nat_s = 0.5\nsays = "more"\n')
    process = serve(tmp_path, "--scenario", "story.toml", "--ready-file", "r.json")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            break
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(PATIENCE_S)) == ("", 0)
    process.stderr.close()
    assert left(tmp_path) == ["story.toml"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_the_process(tmp_path: Path, number: int) -> None:
    """The signal arrives while a user's module is imported. The exit code is 0; there is no traceback and no file."""
    (tmp_path / "mine.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nraise SystemExit(9)\n")
    process = serve(tmp_path, "--processor", "mine:rank", "--ready-file", "r.json")
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output, errors) == (0, "", "")
    assert "r.json" not in left(tmp_path)


def test_the_file_is_removed_at_the_end_of_a_process_with_busy_workers(tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "echo=1", "--processor", "sleep:3600", "--keepalive", "0") as served:
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_S) == 0
        assert left(tmp_path) == []
