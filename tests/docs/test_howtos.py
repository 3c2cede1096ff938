"""The programs of the how-to pages, run as a reader would, against a simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.relaying import check, model, relay
from tests.docs.test_examples import run
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("--service", "scorecard_pmml_example=3", "--service", "mnist_saved_model_example=3")
    with Served(tmp_path_factory.mktemp("howtos"), *services, "--token", "t0ken") as running:
        running.patch("scorecard_pmml_example", "scorecard_pmml_example-0", state="crashed")
        yield running


def test_the_agent_example_speaks_json(served: Served) -> None:
    ended = run("treq_agent.py", served.ready["url"], "scorecard_pmml_example")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "200 [{'money_credit': 3000000}]\n"


def test_the_official_sdks_program_runs_with_another_import(served: Served) -> None:
    ended = run("official_script.py", served.ready["url"])
    assert (ended.returncode, ended.stderr) == (0, "")
    text = repr(b'[{"money_credit": 3000000}]')
    assert ended.stdout.splitlines() == [text, text, text, "[1, 10]", "401"]


def test_the_asyncio_example_adds_up(served: Served) -> None:
    ended = run("asyncio_client.py", served.ready["url"], "scorecard_pmml_example")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "190\n")


def test_the_relay_with_twisted(tmp_path: Path) -> None:
    """It passes answers on as they come, and a browser that goes away ends the instance's stream."""
    with model(tmp_path) as served, relay("relay_twisted.py", served.ready["url"], "llm", "0") as port:
        check(port, served)


@pytest.mark.parametrize(
    ("name", "printed"),
    [("with_twisted.py", "1000 rows, 0 failed, total 499500000"), ("with_processes.py", "499500000")],
)
def test_the_programs_that_score_rows_score_each(served: Served, name: str, printed: str) -> None:
    """The others need packages of their own: see tests/dask, tests/ray and tests/spark."""
    ended = run(f"score/{name}", served.ready["url"], "scorecard_pmml_example")
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", f"{printed}\n")
