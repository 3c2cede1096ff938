"""Each command at a prompt of the documentation runs, in the order of its page."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eas_tw.cli.main import _joined
from eas_tw.cli.main import _parser as eas_tw_parser
from simulator.cli import _parser as simulator_parser
from tests.docs.console import TOKEN, Console
from tests.docs.pages import EXAMPLES, ROOT, Block, blocks, pages
from tests.needs import program
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICES = ("echo", "ranker", "scorecard_pmml_example", "mnist_saved_model_example", "chat")
# The commands of this page measure for half a minute each. tests/cli/perf tests these commands with short runs.
LONG_PAGE = "docs/howto/measure.md"
CONSOLES: dict[str, list[Block]] = {}
for block in blocks() if EXAMPLES.is_dir() else ():
    if block.language == "console":
        CONSOLES.setdefault(block.page, []).append(block)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    arguments = [part for service in SERVICES for part in ("--service", f"{service}=3")]
    arguments += ["--service", "qservice=2", "--queue-service", "qservice"]
    with Served(tmp_path_factory.mktemp("pages"), *arguments, "--token", TOKEN) as served:
        yield served


@pytest.fixture
def console(running: Served, tmp_path: Path) -> Iterator[Console]:
    """Yield a console with the files that the pages mention, and requests for each kind of journal query."""
    running.admin("POST", "/v1/reset", {})
    running.raw("POST", "/api/predict/echo", b"unauthorised", {})
    running.admin("POST", "/v1/faults", {"type": "http_status", "target": {"service": "ranker"}, "times": 1})
    running.raw("POST", "/api/predict/ranker", b"[]", {"Authorization": TOKEN})
    (tmp_path / "body.json").write_text("[1]")
    (tmp_path / "chat.json").write_text("{}")
    np.save(tmp_path / "image.npy", np.ones((1, 784), np.float32))
    with Console(tmp_path, running) as console:
        yield console


def page_param(page: str) -> Any:
    """Mark the long page, and the Chinese pages, whose commands are those of the English pages."""
    is_long = page == LONG_PAGE or page.startswith("docs/zh/")
    return pytest.param(page, marks=pytest.mark.long if is_long else ())


@pytest.mark.parametrize("page", [page_param(page) for page in CONSOLES])
def test_every_command_of_a_page_works(console: Console, page: str) -> None:
    if "curl" in str(CONSOLES[page]):
        program("curl")
    for block in CONSOLES[page]:
        assert block.commands, f"{block}: a console without a prompt"
        for command in block.commands:
            console.type(command)


def mentioned() -> Iterator[tuple[str, list[str]]]:
    """Yield (page, commands): the commands in the running text of a page, or in one of its blocks of plain text."""
    for page in pages() if EXAMPLES.is_dir() else ():
        prose = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        yield (
            page.relative_to(ROOT).as_posix(),
            [" ".join(command.split()) for command in re.findall(r"`((?:eas-tw|python -m simulator) [^`]*)`", prose)],
        )
    for block in blocks() if EXAMPLES.is_dir() else ():
        if block.language == "text":
            lines = block.text.replace("\\\n", " ").splitlines()
            yield block.page, [line for line in lines if line.startswith(("eas-tw ", "python -m simulator "))]


MENTIONED = sorted({(page, command) for page, commands in mentioned() for command in commands})


@pytest.mark.parametrize(("page", "command"), MENTIONED)
def test_every_command_in_a_sentence_can_be_parsed(page: str, command: str) -> None:
    """A command in a sentence may lack required arguments, but the command and its options must exist."""
    assert page
    words = shlex.split(command.partition(" #")[0])
    assert parse(words) == "" or "are required: " in parse(words)


def test_a_command_that_cannot_be_parsed_is_found() -> None:
    assert "unrecognized arguments: --ouput" in parse(["eas-tw", "score", "a.csv", "--output", "b.csv", "--ouput", "c"])
    assert "unrecognized arguments: --no-such-flag" in parse(["python", "-m", "simulator", "--no-such-flag"])
    assert "invalid choice: 'dance'" in parse(["eas-tw", "dance"])


def parse(words: list[str]) -> str:
    """Parse a command line as its program does. Return the error message, or "" if the command line is valid."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        if words[0] == "eas-tw":
            eas_tw_parser().parse_args(_joined(words[1:]))
        else:
            given = words[3:]
            given = ["serve", *given] if not given or given[0].startswith("-") else given
            simulator_parser(given[0]).parse_args(given)
    return said.getvalue()
