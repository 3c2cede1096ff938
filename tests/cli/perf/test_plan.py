"""Validation of the flags of `eas-tw perf`, before a call is sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eas_tw.cli import main
from eas_tw.cli.perf.plan import Load, loads
from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

GIVEN = ("perf", "[1]", "--endpoint", "http://127.0.0.1:1", "--service", "echo")


@pytest.mark.parametrize(
    ("in_flight", "rate", "found"),
    [
        (None, None, [Load(16)]),
        ("8", None, [Load(8)]),
        ("1, 8,64", None, [Load(1), Load(8), Load(64)]),
        (None, "500", [Load(10_000, 500.0)]),
        (None, "0.5,1e3", [Load(10_000, 0.5), Load(10_000, 1000.0)]),
    ],
)
def test_a_list_is_a_sweep(in_flight: str | None, rate: str | None, found: list[Load]) -> None:
    assert loads(in_flight, rate, None) == tuple(found)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--in-flight", "8", "--rate", "500"], "give --in-flight (closed loop) or --rate (open loop), not both"),
        (["--in-flight", "0"], "--in-flight must be a whole number ≥ 1, got '0'"),
        (["--in-flight", "1,,8"], "--in-flight must be a whole number ≥ 1, got ''"),
        (["--rate", "fast"], "--rate must be a number > 0, got 'fast'"),
        (["--rate", "inf"], "--rate must be a number > 0, got 'inf'"),
        (["--rate", "5", "--max-in-flight", "1.5"], "--max-in-flight must be a whole number ≥ 1, got '1.5'"),
        (["--max-in-flight", "5"], "--max-in-flight belongs to --rate"),
        (["--bodies", "x"], "give --bodies or one of BODY, --file and --tensor"),
        (["--calls", "0"], "--requests must be a whole number ≥ 1, got '0'"),
        (["--duration", "0"], "--duration must be a number > 0, got '0'"),
        (["--warm-up", "-1"], "--warm-up must be a number ≥ 0, got '-1'"),
        (["--ramp", "nan"], "--ramp must be a number ≥ 0, got 'nan'"),
        (["--fail-if", "p99"], "--fail-if must be METRIC>NUMBER or METRIC<NUMBER, such as p99>50ms"),
        (
            ["--output-file", "/no/such/folder/x.html"],
            "--output-file: cannot write to /no/such/folder/x.html: No such file",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("content", "flags", "code", "says"),
    [
        ("", [], 2, "bodies.jsonl has no line with a body"),
        ("\n  \n", [], 2, "bodies.jsonl has no line with a body"),
        ('[1]\n\n{"a": }\n', ["--json"], 65, "bodies.jsonl:3: the body is not JSON"),
        (None, [], 66, "bodies.jsonl: No such file"),
    ],
)
def test_a_file_without_bodies_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, flags: list[str], code: int, says: str
) -> None:
    file = tmp_path / "bodies.jsonl"
    if content is not None:
        file.write_text(content)
    without_body = [part for part in GIVEN if part != "[1]"]
    assert main([*without_body, "--bodies", str(file), *flags]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_file_that_could_not_be_written_is_found_before_the_run(tmp_path: Path) -> None:
    """The check that a file can be written does not change an existing file."""
    (tmp_path / "before.json").write_text("kept")
    assert main([*GIVEN, "--output-file", str(tmp_path / "before.json"), "--fail-if", "x"]) == 2
    assert (tmp_path / "before.json").read_text() == "kept"


def test_other_commands_need_neither_hdrhistogram_nor_rich() -> None:
    program = (
        "import sys; sys.modules['hdrh'] = sys.modules['hdrh.histogram'] = sys.modules['rich'] = None; "
        "from eas_tw.cli import main; sys.exit(main(['predict', '[1]', '--endpoint', 'x', '--service', 'a b']))"
    )
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, "service_name must be" in ended.stderr) == (2, True)
