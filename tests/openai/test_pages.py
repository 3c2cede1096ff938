"""Programs of the page "Language models" that need additional packages."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import EXAMPLES
from tests.docs.relaying import TOKEN, check, model, relay
from tests.patience import PATIENCE_S
from tests.simulator.serving import environment


def test_the_program_prints_an_answer(tmp_path: Path) -> None:
    with model(tmp_path) as served:
        ended = subprocess.run(  # noqa: S603
            [sys.executable, str(EXAMPLES / "openai_on_eas.py"), served.ready["url"], "llm", "llm"],
            env={**environment(), "EAS_TOKEN": TOKEN},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.split()) >= 5


def test_the_lines_of_the_readme_print_an_answer(tmp_path: Path) -> None:
    with model(tmp_path) as served:
        ended = subprocess.run(  # noqa: S603
            [sys.executable, str(EXAMPLES / "five_lines_openai.py"), served.ready["url"], "llm", TOKEN, "llm"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.split()) >= 5


def test_the_relay_with_fastapi(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = {"EAS_SERVICE": "llm", "PYTHONWARNINGS": "default"}
    with (
        model(tmp_path) as served,
        relay("relay_fastapi.py", str(port), EAS_ENDPOINT=served.ready["url"], **variables) as port,
    ):
        check(port, served)
