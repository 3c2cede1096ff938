"""Each example of `docs/requests` runs against a service of its kind and prints the expected output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simulator.processors.echoes import score
from tests.docs.test_examples import EXAMPLES, run
from tests.simulator.kinds import scenario
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = Path(__file__).parents[2] / "docs" / "requests"
SERVICES = {
    "echo": "echo",
    "tf": "echo-tf",
    "json": "echo-json",
    "caffe": "echo-caffe",
    "takes-zstd": "zstd+echo",
}
PRINTED = {
    "string_request": ['[{"money_credit": 3000000}]', "27"],
    "json_request": ["[[1.0, 0.0], [0.0, 1.0]]", repr('{"rows": [[1.0, 0.0], [0.0, 1.0]], "user": "李雷"}'.encode())],
    "tf_request": ["[1, 3] [7, 8, 9]", "(1, 2, 2)"],
    "feeds": ["True"],
    "torch_request": ["[2.0, 5.0]", "[2 0]"],
    "torchrec_request": [f"i1 {score('i1')}", f"i2 {score('i2')}"],
    "easyrec_request": [f"i1 [{score('i1')}]", f"i2 [{score('i2')}]", "int_feature: 30"],
    "blade_request": ["[2, 2] [1.0, 2.0, 3.0, 4.0]"],
    "onnx_request": ["x float32", "mask uint8", "[[1 0 1]]"],
    "caffe_request": ["('data',) (1, 1, 2, 2)"],
    "compressed_request": ["True"],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("requests")
    with Served(folder, *scenario(folder, *SERVICES.items())) as running:
        yield running


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_what_the_service_answers(served: Served, name: str) -> None:
    ended = run(f"requests/{name}.py", served.ready["url"], "t0ken")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == PRINTED[name]


def test_every_example_is_run_and_shown() -> None:
    files = {path.stem for path in (EXAMPLES / "requests").glob("*.py")}
    not_run = files - set(PRINTED)
    assert not not_run, f"{not_run}: add what docs/examples/requests/NAME.py prints to PRINTED in this file"
    gone = set(PRINTED) - files
    assert not gone, f"{gone}: remove it from PRINTED in this file, or write docs/examples/requests/NAME.py"
    pages = "\n".join(page.read_text("utf-8") for page in PAGES.glob("*.md"))
    for name in files:
        assert f"examples/requests/{name}.py" in pages, f"{name}: show it on a page of docs/requests (literalinclude)"
