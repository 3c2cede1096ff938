"""`eas-tw perf` as a subprocess, against the simulator."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE_S, until
from tests.simulator.serving import environment

if TYPE_CHECKING:
    from eas_tw.testing.service import RemoteService

COMMAND = [sys.executable, "-m", "eas_tw.cli", "perf"]
CHAT = json.dumps(
    {"model": "llm", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20, "stream": True}
)


def variables(service: RemoteService) -> dict[str, str]:
    mine = {name: value for name, value in environment().items() if not name.startswith("EAS_")}
    given = {"EAS_ENDPOINT": service.endpoint, "EAS_TOKEN": service.token, "EAS_SERVICE": service.name}
    # The timeout is long, so that no call is late or hedged only because the machine is slow.
    return {**mine, "HOME": "/nonexistent", **given, "EAS_TIMEOUT_S": str(PATIENCE_S)}


def perf(service: RemoteService, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run the command, and return its standard output and error."""
    ended = subprocess.run(  # noqa: S603
        [*COMMAND, "[1]", *arguments],
        env=variables(service),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert service.token not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout, ended.stderr


def test_an_open_loop_sends_the_calls_of_its_schedule(eas_service: RemoteService) -> None:
    told = json.loads(perf(eas_service, "--rate", "100", "--requests", "50", "--output", "json")[0])
    assert (told["answered"], told["failed"], told["unsent"]) == (50, {}, 0)
    assert told["elapsed_s"] >= 0.489
    assert told["steps"][0]["load"] == {"in_flight": 10_000, "rate_per_s": 100.0}
    assert sum(row["attempts"] for row in told["instances"]) == 50
    assert len(told["instances"]) == 3


def test_a_sweep_is_written_as_csv(eas_service: RemoteService) -> None:
    text, _ = perf(eas_service, "--in-flight", "1,4", "--requests", "20", "--output", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["load"], row["answered"]) for row in rows] == [("1 in flight", "20"), ("4 in flight", "20")]


def test_calls_of_the_warm_up_are_sent_and_not_measured(eas_service: RemoteService) -> None:
    told = json.loads(perf(eas_service, "--warm-up", "0.3", "--requests", "10", "--output", "json")[0])
    assert told["answered"] == 10
    assert eas_service.simulator.count(service=eas_service.name) > 10


def test_bodies_are_sent_in_turn(eas_service: RemoteService, tmp_path: Path) -> None:
    file = tmp_path / "bodies.jsonl"
    file.write_text('{"user": 1}\n\n{"user": 22}\n{"user": 333}\n')
    command = [*COMMAND, "--bodies", str(file), "--json", "--in-flight", "1", "--requests", "7"]
    ended = subprocess.run(command, env=variables(eas_service), capture_output=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    assert (ended.returncode, ended.stderr) == (0, b"")
    users = [json.loads(request.body)["user"] for request in eas_service.received()]
    assert users == [1, 22, 333, 1, 22, 333, 1]


def test_the_results_do_not_overwrite_what_is_read(eas_service: RemoteService, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text("[1]\n")
    ended = subprocess.run(  # noqa: S603
        [*COMMAND, "--bodies", "bodies", "--output", "json", "--output-file", str(bodies)],
        env=variables(eas_service),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("eas-tw: --output-file and --bodies are the same file, ")
    assert bodies.read_text() == "[1]\n"


@pytest.mark.parametrize(
    ("balancer", "says"),
    [
        ("wrr", "eas-tw: --key has no effect with the balancer wrr: add --balancer hash\n"),
        ("p2c", "eas-tw: --key has no effect with the balancer p2c: add --balancer hash\n"),
        ("hash", ""),
    ],
)
def test_a_warning_is_printed_if_keys_have_no_effect(eas_service: RemoteService, balancer: str, says: str) -> None:
    _, said = perf(eas_service, "--requests", "3", "--key", "ada", "--balancer", balancer, "--no-progress")
    assert said == says


def test_a_gateway_is_a_single_row(eas_service: RemoteService) -> None:
    told = json.loads(perf(eas_service, "--requests", "10", "--endpoint-type", "gateway", "--output", "json")[0])
    assert told["answered"] == 10
    assert [(row["attempts"], row["share"]) for row in told["instances"]] == [(10, 1.0)]


def test_errors_are_a_table_and_the_instance_that_failed_is_seen(eas_service: RemoteService) -> None:
    eas_service.crash(0)
    eas_service.fault("http_status", 1, code=418, when={"times": 2})
    text, said = perf(eas_service, "--requests", "60", "--output", "json", code=76)
    told = json.loads(text)
    assert "status 418" in said
    assert [(row["error"], row["count"]) for row in told["errors"]] == [("StatusError 418", 2)]
    rows = {row["instance"]: row for row in told["instances"]}
    crashed = rows["{}:{}".format(*eas_service.address(0))]
    assert crashed["errors"] >= 1
    assert crashed["ejections"] >= 1
    assert sum(row["retries"] for row in rows.values()) == told["retries"] >= 1


@pytest.mark.parametrize(
    ("limits", "code", "says"),
    [
        (["p50>1h"], 2, "--fail-if must be"),
        (["p50>100s", "rate<0.001"], 0, ""),
        (["p50>0.001ms", "max<1000s"], 1, "eas-tw: p50>0.001ms: it is "),
    ],
)
def test_a_violated_limit_is_exit_code_1(eas_service: RemoteService, limits: list[str], code: int, says: str) -> None:
    flags = [part for limit in limits for part in ("--fail-if", limit)]
    _, said = perf(eas_service, "--requests", "20", *flags, code=code)
    assert says in said
    assert bool(said) == bool(says)


@pytest.mark.parametrize(("limit", "code"), [("errors>20%", 0), ("errors>1%", 1), ("p50>100s", 76)])
def test_failed_calls_are_allowed_by_a_limit_for_errors_only(eas_service: RemoteService, limit: str, code: int) -> None:
    eas_service.fault("http_status", code=418, when={"times": 2})
    perf(eas_service, "--requests", "20", "--fail-if", limit, code=code)


def test_the_results_are_in_a_file_and_the_summary_is_printed(eas_service: RemoteService, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    text, said = perf(eas_service, "--requests", "20", "--output", "html", "--output-file", str(file))
    assert text.startswith("answered     20\n")
    assert said == ""
    assert file.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_file_on_a_full_disk_does_not_lose_the_results(eas_service: RemoteService) -> None:
    ended = subprocess.run(  # noqa: S603
        [*COMMAND, "[1]", "--requests", "5", "--output-file", "/dev/full"],
        env=variables(eas_service),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.stdout.startswith("answered     5\n")
    assert (ended.returncode, ended.stderr) == (74, "eas-tw: /dev/full: No space left on device\n")


@pytest.mark.parametrize("load", [("--in-flight", "2"), ("--rate", "200")])
def test_an_interrupt_prints_what_was_measured(eas_service: RemoteService, load: tuple[str, ...]) -> None:
    eas_service.fault("timeout", when={"skip": 20})
    command = [*COMMAND, "[1]", *load, "--duration", "3600", "--output", "json"]
    with subprocess.Popen(  # noqa: S603
        command, env=variables(eas_service), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: len(eas_service.simulator.activations(service=eas_service.name)) >= 2)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # a second signal must not lose the results
        text, said = process.communicate(timeout=PATIENCE_S)
    told = json.loads(text)
    assert (process.returncode, said) == (130, "")
    assert told["is_interrupted"]
    # The service has responded to 20 calls. Some of these responses may still be in flight when the signal is sent.
    assert told["answered"] <= 20 <= told["answered"] + told["unfinished"]
    assert told["unfinished"] >= 1
    assert "in flight when the run was interrupted" in " ".join(told["warnings"])


@pytest.mark.eas_service(processor="llm:ttft=0,tokens_per_s=1000")
def test_streams_have_first_bytes_events_and_tokens(eas_service: RemoteService) -> None:
    arguments = ("--stream", "--path", "/v1/chat/completions", "--json", "--requests", "10", "--output", "json", CHAT)
    ended = subprocess.run(  # noqa: S603
        [*COMMAND, *arguments], env=variables(eas_service), capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    told = json.loads(ended.stdout)
    assert told["answered"] == 10
    assert told["stream"]["tokens"] >= 10
    assert told["stream"]["events"] > told["stream"]["tokens"]
    assert told["stream"]["first_byte"]["p50_ms"] <= told["p50_ms"] * 1.01
    assert told["stream"]["between_events"]["max_ms"] > 0


def test_progress_on_a_terminal_is_a_line_that_is_erased(eas_service: RemoteService) -> None:
    """The terminal is standard error; standard output has only the results."""
    master, slave = pty.openpty()
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                shown.extend(os.read(master, 4096))
            except OSError:  # Linux raises EIO when the other end of a terminal is closed
                return

    reader = threading.Thread(target=read)
    with subprocess.Popen(  # noqa: S603
        [*COMMAND, "[1]", "--rate", "20", "--duration", "1.5", "--output", "json"],
        env={**variables(eas_service), "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=slave,
    ) as process:
        os.close(slave)
        reader.start()
        text, _ = process.communicate(timeout=PATIENCE_S)
    reader.join(PATIENCE_S)
    os.close(master)
    assert process.returncode == 0
    assert json.loads(text)["answered"] == 30
    assert re.search(rb"20 calls/s: \d\.?\d* s of 1\.5 s, \d+ calls", shown)
