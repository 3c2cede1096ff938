"""Parses the documentation pages: blocks of code, and commands at a prompt."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
READMES = ("README.md", "README.zh-CN.md")
_OPTION = re.compile(r":([\w-]+): ?(.*)")
_FENCE = re.compile(r"(`{3,}|~{3,}|:{3,})(\{[\w:-]+\}|\w+)?(.*)")


@frozen
class Block:
    """A fenced block of a page.

    Attributes:
        page: Path of the page, relative to the repository.
        line: Line number of the opening fence.
        language: The word after the opening fence; for a directive, its name in braces.
        argument: The text after the language.
        text: The text between the fences; for a directive, without its options.
        options: The options of a directive.
    """

    page: str
    line: int
    language: str
    argument: str
    text: str
    options: dict[str, str] = field(factory=dict)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Return the commands after the prompts of a console block. Continued lines are joined."""
        joined = self.text.replace("\\\n", " ")
        return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]

    @property
    def shown_file(self) -> Path:
        """Return the path of the file that a `literalinclude` shows."""
        return (ROOT / self.page).parent / self.argument

    @property
    def is_python(self) -> bool:
        """Return whether the block shows Python, in the page or from a file."""
        return self.language == "python" or self.options.get("language") == "python"

    @property
    def shown(self) -> str:
        """Return the text that a reader sees: the text of the block, or the included part of a file."""
        if self.language != "{literalinclude}":
            return self.text
        lines = self.shown_file.read_text("utf-8").splitlines()
        named = self.options.get("pyobject")
        if named is not None:
            found = next(node for node in ast.walk(ast.parse("\n".join(lines))) if getattr(node, "name", "") == named)
            assert isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            first = min(node.lineno for node in (found, *found.decorator_list))
            lines = lines[first - 1 : found.end_lineno]
        for option in ("start-at", "start-after", "end-before", "end-at"):
            if option in self.options:
                at = next(n for n, line in enumerate(lines) if self.options[option].strip('"') in line)
                after = option in ("start-after", "end-at")
                lines = lines[at + after :] if option.startswith("start") else lines[: at + after]
        return textwrap.dedent("\n".join(lines)) if "dedent" in self.options else "\n".join(lines)


def pages() -> list[Path]:
    """Return the READMEs and every page of the documentation."""
    built = ROOT / "docs" / "_build"
    found = sorted(page for page in (ROOT / "docs").rglob("*.md") if built not in page.parents)
    return [*(ROOT / name for name in READMES), ROOT / "CHANGELOG.md", *found]


def blocks() -> list[Block]:
    """Return all fenced blocks of all pages."""
    return [block for page in pages() for block in _blocks_of(page)]


def _blocks_of(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.fullmatch(line.strip())
        if fence:
            inside = []
            for _, text in lines:
                if text.strip() == fence[1]:
                    break
                inside.append(text)
            name = page.relative_to(ROOT).as_posix()
            options = {}
            while fence[2] and fence[2].startswith("{") and inside and (option := _OPTION.fullmatch(inside[0])):
                options[option[1]] = option[2]
                inside = inside[1:]
            yield Block(name, number, fence[2] or "", fence[3].strip(), "\n".join(inside), options)
