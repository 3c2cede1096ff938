"""The programs of the documentation, run in subprocesses against a simulator."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eas_tw import TFRequest
from simulator.processors.mnist import score
from tests.docs.pages import EXAMPLES, blocks
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    services = ("scorecard_pmml_example=3", "mnist_saved_model_example=3")
    arguments = [part for service in services for part in ("--service", service)]
    with Served(tmp_path_factory.mktemp("docs"), *arguments, "--token", "t0ken") as running:
        yield running


def run(
    name: str | Path, *arguments: str, token: str = "t0ken", warnings: str = "error", within_s: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    variables = {**environment(), "EAS_TOKEN": token, "PYTHONWARNINGS": warnings}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=within_s, check=False)  # noqa: S603


def test_the_string_example_predicts_in_a_loop_while_an_instance_crashes(served: Served) -> None:
    served.patch("scorecard_pmml_example", "scorecard_pmml_example-0", state="crashed")
    ended = run("string_scorecard.py", served.ready["url"], "--calls", "30")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ['[{"money_credit": 3000000}, {"money_credit": 10000}]'] * 30


def test_the_tensor_example_prints_the_models_scores(served: Served) -> None:
    ended = run("tf_mnist.py", served.ready["url"])
    assert (ended.returncode, ended.stderr) == (0, "")
    shape, _, scores = ended.stdout.partition("] ")
    assert shape == "[1, 10"
    assert [float(text) for text in scores.strip("[]\n").split(", ")] == pytest.approx(score([1.0] * 784), rel=1e-6)


def test_the_response_of_the_language_model_is_printed_in_chunks(tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "llm=2", "--processor", "llm", "--token", "t0ken", "--seed", "7") as running:
        ended = run("language_model.py", running.ready["url"], "llm")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.split()) == 8


@pytest.mark.parametrize("name", ["five_lines", "five_lines_asyncio", "tutorial"])
def test_the_first_programs_print_their_usage(name: str) -> None:
    ended = run(f"{name}.py")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"usage: python {name}.py ENDPOINT")
    assert ended.stderr.count("\n") == 1


def test_the_five_lines_of_the_readme_run(served: Served) -> None:
    ended = run("five_lines.py", served.ready["url"], "scorecard_pmml_example", "t0ken")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Instance(ip='127.0.0.1'" in ended.stdout
    assert '[{"money_credit": 3000000}]' in ended.stdout


def test_no_call_of_the_tutorial_fails_when_an_instance_crashes(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "tutorial.md").read_text("utf-8")
    shown = re.search(r"\{literalinclude\} examples/tutorial.py\n:language: python\n:start-at: (.+)\n```", page)
    assert shown is not None
    _, first_line, rest = (EXAMPLES / "tutorial.py").read_text("utf-8").partition(f"{shown[1]}\n")
    saved = tmp_path / "tutorial.py"
    saved.write_text(first_line + rest, "utf-8")
    with Served(tmp_path, "--service", "greeter=3", "--token", "t0ken", "--seed", "7") as running:
        running.patch("greeter", "greeter-0", state="crashed")
        ended = run(saved, running.ready["url"], "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    first, _, last = ended.stdout.splitlines()
    assert first == "3 instances"
    assert "'connect_refused': 1" in last
    assert last.endswith("lost: 0")


@pytest.mark.parametrize(("name", "passed"), [("test_my_application.py", 5), ("test_with_answers.py", 3)])
def test_the_tests_of_an_application_pass(tmp_path: Path, name: str, passed: int) -> None:
    shutil.copy(EXAMPLES / name, tmp_path)
    plugins = ["-p", "eas_tw.testing.pytest_plugin", "-p", "pytest_twisted"]
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, *plugins, name],
        cwd=tmp_path,
        env={**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert f"{passed} passed" in ended.stdout, ended.stdout + ended.stderr


def test_a_wrong_token_ends_with_the_services_answer(served: Served) -> None:
    ended = run("tf_mnist.py", served.ready["url"], token="wr0ng-token")
    assert ended.returncode == 1
    assert "401" in ended.stderr + ended.stdout
    assert "wr0ng-token" not in ended.stderr + ended.stdout


def test_the_settings_apply_and_the_listener_gets_events(served: Served) -> None:
    """The settings make status 429 retryable, so the listener gets the events of two attempts."""
    served.admin("POST", "/v1/reset", {})
    limited = {"code": 429, "retry_after": 0}
    target = {"service": "scorecard_pmml_example"}
    served.admin("POST", "/v1/faults", {"type": "http_status", "target": target, "attributes": limited, "times": 1})
    ended = run("configured.py", served.ready["url"], "scorecard_pmml_example")
    assert (ended.returncode, ended.stderr) == (0, "")
    *events, answer = ended.stdout.splitlines()
    assert answer == "[1]"
    assert [line.partition("(")[0] for line in events] == ["AttemptEnded", "AttemptEnded", "CallEnded"]


def test_a_simulator_in_the_process_of_the_test() -> None:
    ended = run("in_process.py")
    # Twisted reserves a descriptor when it listens, and Python may warn about this descriptor at exit.
    assert (ended.returncode, ended.stdout, "Traceback" in ended.stderr) == (0, "", False)


def test_a_processor_written_by_a_user_computes(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "mine.py", tmp_path)
    with Served(tmp_path, "--service", "ranker=1", "--processor", "tf+mine:rank", "--token", "") as ranker:
        request = TFRequest("rank")
        request.add_feed("features", [2, 3], TFRequest.DT_FLOAT, [1, 2, 3, 4, 5, 6])
        status, body = ranker.predict("ranker", request.to_string())
        assert status == 200
        assert list(request.parse_response(body).get_values("scores")) == [6, 15]


@pytest.mark.parametrize("profile", ["default", "staging"])
def test_the_profiles_of_the_command_line(served: Served, tmp_path: Path, profile: str) -> None:
    (tmp_path / ".config").mkdir()
    shutil.copy(EXAMPLES / "eas-tw.toml", tmp_path / ".config")
    (tmp_path / ".config" / "eas-token").write_text("t0ken\n")
    command = [sys.executable, "-m", "eas_tw.cli", "predict", "--endpoint", served.ready["url"], "[1]"]
    token = {} if profile == "default" else {"EAS_TOKEN": "t0ken"}
    variables = {**environment(), "HOME": str(tmp_path), "EAS_PROFILE": profile, **token}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "[\n  1\n]\n")


def test_the_requests_of_the_wire_page_are_answered(served: Served) -> None:
    asked = [block.text.split() for block in blocks() if block.language == "http"]
    assert [method for method, _, _ in asked] == ["GET", "POST"]
    for method, shown, _ in asked:
        path = shown.replace("SERVICE", "scorecard_pmml_example").replace("[/PATH][?QUERY]", "/v2?uid=7")
        body = b"" if method == "GET" else b"[1]"
        assert served.raw(method, path, body, {"Authorization": "t0ken"})[0] == 200


def test_the_calls_of_a_user_go_to_one_instance(tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "ranker=4", "--token", "t0ken") as running:
        ended = run("choose_by_user.py", running.ready["url"], "ranker")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert [len(words) for words in lines] == [2] * 6
    assert len({address for _, address in lines}) > 1


def test_canary_calls_go_to_the_canary(tmp_path: Path) -> None:
    services = ("--service", "shop/ranker=2", "--service", "shop/ranker-canary=1")
    with Served(tmp_path, *services, "--token", "t0ken") as running:
        ended = run("choose_canary.py", running.ready["url"], "shop/ranker", "shop-ranker-canary")
        assert (ended.returncode, ended.stderr) == (0, "")
        counted, fallbacks = ended.stdout.splitlines()
        assert counted == "{'shop-ranker': 30, 'shop-ranker-canary': 10}"
        assert fallbacks.startswith("0 calls")
        running.patch("shop%2Franker-canary", "shop.ranker-canary-0", state="crashed")
        ended = run("choose_canary.py", running.ready["url"], "shop/ranker", "shop-ranker-canary")
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[0] == "{'shop-ranker': 40}"


def test_no_short_prompt_waits_beside_the_long_one(tmp_path: Path) -> None:
    with Served(tmp_path, "--service", "llm=3", "--processor", "llm", "--token", "t0ken", "--seed", "7") as running:
        ended = run("choose_fewest_tokens.py", running.ready["url"], "llm")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "with the long prompt: 0\n"
