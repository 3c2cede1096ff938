"""Every command at a prompt of the pages, typed in the order of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.docs.console import TOKEN, Console
from tests.docs.pages import EXAMPLES, Block, blocks
from tests.needs import program
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICES = ("echo", "ranker", "scorecard_pmml_example", "mnist_saved_model_example", "chat")
# Its commands measure for half a minute; tests/cli/perf tests them with short runs.
LONG_PAGES = {"docs/howto/measure.md": pytest.mark.long}
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
    """Return a console with the files that the pages mention, and requests for each kind of journal query."""
    running.admin("POST", "/v1/reset", {})
    running.raw("POST", "/api/predict/echo", b"unauthorised", {})
    running.admin("POST", "/v1/faults", {"type": "http_status", "target": {"service": "ranker"}, "times": 1})
    running.raw("POST", "/api/predict/ranker", b"[]", {"Authorization": TOKEN})
    (tmp_path / "body.json").write_text("[1]")
    (tmp_path / "chat.json").write_text("{}")
    np.save(tmp_path / "image.npy", np.ones((1, 784), np.float32))
    with Console(tmp_path, running) as console:
        yield console


@pytest.mark.parametrize("page", [pytest.param(page, marks=LONG_PAGES.get(page, ())) for page in CONSOLES])
def test_every_command_of_a_page_works(console: Console, page: str) -> None:
    if "curl" in str(CONSOLES[page]):
        program("curl")
    for block in CONSOLES[page]:
        assert block.commands, f"{block}: a console without a prompt"
        for command in block.commands:
            console.type(command)
