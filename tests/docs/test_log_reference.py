"""The reference of log lines lists exactly the lines that the code logs, with their levels."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "operations" / "logs.md"
LEVELS = {"debug", "info", "warn", "warning", "error", "failure", "critical"}


def logged(source: str) -> Iterator[tuple[str, str]]:
    """Yield format and level of each call of a logger, and of `contain`, which logs a failure."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in LEVELS and is_logger(function.value):
            yield text_of(node.args[0]), function.attr
        elif isinstance(function, ast.Name) and function.id == "contain":
            yield text_of(node.args[1]), "failure"


def is_logger(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id.strip("_").lower() in ("log", "logger")


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):  # inside `contain`, the format is a parameter
        return ""
    assert isinstance(node, ast.Constant), f"line {node.lineno}: the reference needs a constant format"
    return str(node.value)


def in_code() -> set[tuple[str, str]]:
    found = {line for path in Path(ROOT / "eas_tw").rglob("*.py") for line in logged(path.read_text("utf-8"))}
    return {line for line in found if line[0]}


def in_reference() -> list[tuple[str, str]]:
    return re.findall(r"^\| `(.+?)` \| (\w+) \|", PAGE.read_text("utf-8"), re.MULTILINE)


def test_every_line_of_the_code_is_in_the_reference_with_its_level() -> None:
    assert in_code() - set(in_reference()) == set()


def test_every_line_of_the_reference_is_logged_by_the_code() -> None:
    assert set(in_reference()) - in_code() == set()
    assert len(in_reference()) == len(set(in_reference()))


def test_a_logger_and_a_contained_failure_are_found() -> None:
    source = '_log.warn("{a} b", a=1)\ncontain(later, "c", d=2)\nself._rows.info("no")\nLOGGER.error("%s", e)'
    assert set(logged(source)) == {("{a} b", "warn"), ("c", "failure"), ("%s", "error")}
