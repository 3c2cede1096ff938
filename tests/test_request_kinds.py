"""Each request class is exported, documented and tested. A failure lists the missing places."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import eas_tw
from eas_tw import body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parents[1]
SHARED = {"Request", "RecRequest"}
"""A protocol and a base class, which are not themselves request classes."""


def kinds() -> list[str]:
    """Return the public request classes in `eas_tw.body`, exported or not."""
    modules = [import_module(f"eas_tw.body.{found.name}") for found in pkgutil.iter_modules(body.__path__)]
    names = {name for module in modules for name in vars(module) if re.fullmatch(r"[A-Z]\w*Request", name)}
    return sorted(names - SHARED)


def text(*paths: str) -> str:
    """Return the text of files and of all files in folders."""
    files = [file for path in paths for file in ([ROOT / path] if "." in path else (ROOT / path).iterdir())]
    return "\n".join(file.read_text("utf-8") for file in files if file.suffix in (".md", ".py"))


def names(place: str, read: Callable[[], Iterable[Any]]) -> dict[str, str]:
    """Return a place with the text that `read` returns.

    If a place lacks a name, a module that imports the name may raise an error. The error then becomes part of the
    place's name and its text is empty, so that the other places are still checked.
    """
    try:
        return {place: "\n".join(read())}
    except (ImportError, AttributeError, OSError) as error:
        return {f"{place} ({type(error).__name__}: {error})": ""}


def described_in_the_navigation() -> list[str]:
    """Return the names that the pages in the toctree of docs/requests/index.md describe."""
    _, _, tree = text("docs/requests/index.md").partition("```{toctree}\n")
    listed = tree.partition("```")[0].split()
    files = [f"docs/requests/{name}.md" for name in listed if (ROOT / f"docs/requests/{name}.md").is_file()]
    return re.findall(r"autoclass:: eas_tw\.(\w+)", text(*files))


def examples_that_are_run() -> list[str]:
    printed = import_module("tests.docs.test_requests").PRINTED
    return [text(f"docs/examples/requests/{name}.py") for name in printed]


def class_names(function: str) -> list[str]:
    """Return the names of the classes whose objects a function of tests/test_pickling.py returns."""
    made = getattr(import_module("tests.test_pickling"), function)()
    return [type(each).__name__ for each in made.values()]


def exports() -> dict[str, str]:
    """Return the places that must have the name of each request class and of its response class."""
    return {
        "exported by eas_tw/__init__.py": " ".join(eas_tw.__all__),
        **names("exported by eas_tw/blocking/__init__.py", lambda: import_module("eas_tw.blocking").__all__),
        "listed in tests/test_public_api.py": text("tests/test_public_api.py"),
    }


@pytest.fixture(scope="module")
def places() -> dict[str, str]:
    """Return the places that must have the name of each request class, with their text."""
    return {
        **exports(),
        "described by an autoclass in docs/requests": " ".join(
            re.findall(r"autoclass:: eas_tw\.(\w+)", text("docs/requests"))
        ),
        "in the table of docs/requests/index.md": " ".join(re.findall(r"\[(\w+)\]\(", text("docs/requests/index.md"))),
        "on a page in the toctree of docs/requests/index.md": " ".join(described_in_the_navigation()),
        "in an example of docs/examples/requests": text("docs/examples/requests"),
        **names("in an example with its output in PRINTED of tests/docs/test_requests.py", examples_that_are_run),
        "sent over sockets, by tests/integration or tests/simulator/kinds.py": text(
            "tests/integration", "tests/simulator/kinds.py"
        ),
        "given what does not fit, by tests/body/test_odd_content.py": text("tests/body/test_odd_content.py"),
        **names("pickled by requests() of tests/test_pickling.py", lambda: class_names("requests")),
        "checked by mypy in tests/typing": text("tests/typing"),
    }


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="needs docs/, which only a source tree has")
@pytest.mark.parametrize("kind", kinds())
def test_a_request_class_is_in_every_place(kind: str, places: dict[str, str]) -> None:
    missing = [place for place, found in places.items() if not re.search(rf"\b{kind}\b", found)]
    assert not missing, f"{kind} is not yet: " + "; ".join(missing)


@pytest.fixture(scope="module")
def response_places() -> dict[str, str]:
    """Return the places that must have the name of each response class, with their text."""
    return {
        **exports(),
        **names("pickled by responses() of tests/test_pickling.py", lambda: class_names("responses")),
    }


@pytest.mark.parametrize("kind", kinds())
def test_a_request_class_has_a_response_class_in_every_place(kind: str, response_places: dict[str, str]) -> None:
    response = kind.replace("Request", "Response")
    missing = [place for place, found in response_places.items() if not re.search(rf"\b{response}\b", found)]
    assert not missing, f"{response} is not yet: " + "; ".join(missing)
