"""`eas-tw queue` in subprocesses."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import TOKEN
from tests.integration.test_cli import COMMAND, answer, eas, variables
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUEUE = ("--service", "qservice")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start a simulator with a queue service, whose instances process its frames."""
    services = ("--service", "qservice=2", "--queue-service", "qservice")
    with Served(tmp_path_factory.mktemp("queues"), *services, "--token", TOKEN, "--seed", "7") as served:
        yield served


def watching(served: Served, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [*COMMAND, "queue", "watch", *QUEUE, "--sink", *arguments],
        env=variables(served),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_put_waits_for_its_result(served: Served) -> None:
    assert answer(eas(served, "queue", "put", *QUEUE, "--wait-s", "60", "[1]")) == "[1]\n"


def test_get_deletes_a_frame_unless_it_is_to_be_kept(served: Served, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\xff")
    index, request_id = answer(
        eas(served, "queue", "put", *QUEUE, "--sink", "--file", str(tmp_path / "body"), "--tag", "k=v=w")
    ).split()
    get = ("queue", "get", *QUEUE, "--sink", "--request-id", request_id, "--wait-s", "0")
    row = json.loads(answer(eas(served, *get, "--keep", "--output", "json")))
    assert row == {
        "index": int(index),
        "request_id": request_id,
        "tags": {"k": "v=w", "requestId": request_id},
        "data_base64": "/w==",
    }
    raw = eas(served, *get, "--output", "raw")
    assert (raw.returncode, raw.stdout) == (0, b"\xff")
    assert answer(eas(served, *get)) == ""


def test_the_attributes_are_printed(served: Served) -> None:
    assert "meta.name  qservice/sink\n" in answer(eas(served, "queue", "info", *QUEUE, "--sink"))
    attributes = json.loads(answer(eas(served, "queue", "info", *QUEUE, "--output", "json")))
    assert attributes["meta.name"] == "qservice"


def test_a_watch_prints_and_commits_each_frame(served: Served) -> None:
    for number in range(3):
        answer(eas(served, "queue", "put", *QUEUE, "--sink", str(number)))
    first = eas(served, "queue", "watch", *QUEUE, "--sink", "--count", "2", "--window", "1")
    assert answer(first) == "0\n1\n"
    left = eas(served, "queue", "watch", *QUEUE, "--sink", "--no-commit", "--window", "1", "--output", "json")
    assert json.loads(answer(left))["data"] == "2"
    assert answer(eas(served, "queue", "watch", *QUEUE, "--sink", "--count", "1")) == "2\n"


def test_an_interrupt_ends_a_watch_quietly(served: Served) -> None:
    answer(eas(served, "queue", "put", *QUEUE, "--sink", "x"))
    with watching(served) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "x\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (130, "")


def test_a_reader_that_goes_away_ends_a_watch_quietly(served: Served) -> None:
    answer(eas(served, "queue", "put", *QUEUE, "--sink", "x"))
    with watching(served) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "x\n"
        process.stdout.close()
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("put", "x", "--tag", "k"), 2, "--tag must look like NAME=VALUE, got 'k'"),
        (("put", "x", "--tag", "_k_=1"), 2, "a tag's name must be text that does not begin with _"),
        (("put", "x", "--sink", "--wait-s", "1"), 2, "leave out --sink"),
        (("put", "x", "--file", "y"), 2, "give one of BODY and --file"),
        (("put", "--file", "/nonexistent"), 66, "/nonexistent: No such file"),
        (("put", "x", "--priority", "-1"), 2, "priority must be"),
        (("get", "--length", "0"), 2, "length must be"),
        (("watch", "--window", "0"), 2, "window must be"),
        (("watch", "--user", "a b"), 2, "user must be visible ASCII"),
        (("get", "--request-id", "none", "--wait-s", "0"), 0, ""),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    served: Served, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = eas(served, "queue", *arguments, *QUEUE)
    assert ended.returncode == code
    assert says in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == (1 if says else 0)


def test_a_wrong_token_is_77(served: Served) -> None:
    for action in (("put", "x"), ("get",), ("watch",), ("info",)):
        ended = eas(served, "queue", *action, *QUEUE, EAS_TOKEN="n0t-the-token")
        assert (ended.returncode, ended.stderr.count(b"\n")) == (77, 1)
