"""A program prints the same with the official SDK's import line and with ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "official_script.py"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "scorecard_pmml_example=2", "--service", "mnist_saved_model_example=2")
    with Served(tmp_path_factory.mktemp("simulator"), *services, "--token", "t0ken") as running:
        yield running


def printed(served: Served, sdk: str) -> str:
    text = PROGRAM.read_text()
    assert text.count("from eas_tw.blocking import") == 1
    program = text.replace("from eas_tw.blocking import", f"from {sdk} import")
    # The official SDK causes warnings, so they must not be errors.
    variables = {**environment(), "EAS_TOKEN": "t0ken", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", program, served.ready["url"]]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_program_runs_after_changing_its_import_line(served: Served) -> None:
    """The program uses strings, tensors, setters and the code of an error."""
    ours = printed(served, "eas_tw.blocking")
    assert ours == printed(served, "eas_prediction")
    assert ours.splitlines()[-1] == "401"
