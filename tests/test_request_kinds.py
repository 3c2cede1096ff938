"""Each request class is exported, documented and tested. A failure lists the missing places."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

import eas_tw
import eas_tw.blocking
from eas_tw import body
from tests.test_pickling import requests

ROOT = Path(__file__).parents[1]
SHARED = {"Request", "RecRequest"}
"""A protocol and a base class, which are no request classes themselves."""


def kinds() -> list[str]:
    """Return the public request classes in `eas_tw.body`, exported or not."""
    modules = [import_module(f"eas_tw.body.{found.name}") for found in pkgutil.iter_modules(body.__path__)]
    names = {name for module in modules for name in vars(module) if re.fullmatch(r"[A-Z]\w*Request", name)}
    return sorted(names - SHARED)


def text(*paths: str) -> str:
    """Return the text of files and of all files in folders."""
    files = [file for path in paths for file in ([ROOT / path] if "." in path else (ROOT / path).iterdir())]
    return "\n".join(file.read_text("utf-8") for file in files if file.suffix in (".md", ".py"))


@pytest.fixture(scope="module")
def places() -> dict[str, str]:
    """Return the places that must have the name of each request class, with their text."""
    return {
        "exported by eas_tw/__init__.py": " ".join(eas_tw.__all__),
        "exported by eas_tw/blocking/__init__.py": " ".join(eas_tw.blocking.__all__),
        "listed in tests/test_public_api.py": text("tests/test_public_api.py"),
        "described by an autoclass in docs/requests": " ".join(
            re.findall(r"autoclass:: eas_tw\.(\w+)", text("docs/requests"))
        ),
        "in the table of docs/requests/index.md": " ".join(re.findall(r"\[(\w+)\]\(", text("docs/requests/index.md"))),
        "in an example of docs/examples/requests": text("docs/examples/requests"),
        "sent over sockets, by tests/integration or tests/simulator/kinds.py": text(
            "tests/integration", "tests/simulator/kinds.py"
        ),
        "given what does not fit, by tests/body/test_odd_content.py": text("tests/body/test_odd_content.py"),
        "pickled by tests/test_pickling.py": " ".join(type(request).__name__ for request in requests().values()),
        "checked by mypy in tests/typing": text("tests/typing"),
    }


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="needs docs/, which only a source tree has")
@pytest.mark.parametrize("kind", kinds())
def test_a_request_class_is_in_every_place(kind: str, places: dict[str, str]) -> None:
    missing = [place for place, found in places.items() if not re.search(rf"\b{kind}\b", found)]
    assert not missing, f"{kind} is not yet: " + "; ".join(missing)


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_of_request_has_a_response(kind: str) -> None:
    response = kind.replace("Request", "Response")
    assert {response} <= set(eas_tw.__all__) & set(eas_tw.blocking.__all__)
