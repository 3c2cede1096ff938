"""The pages as their reader has them: blocks of code, and the commands of a console."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
_FENCE = re.compile(r"(`{3,}|~{3,}|:{3,})(\{[\w:-]+\}|\w+)?(.*)")


@frozen
class Block:
    """A fenced block.

    Attributes:
        page: Relative to the root.
        line: Where it begins.
        language: After the fence; of a directive its name in braces.
        argument: What follows that.
        text: Between the fences.
    """

    page: str
    line: int
    language: str
    argument: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """What is typed at the prompts of a console; lines that end with a backslash go on."""
        joined = self.text.replace("\\\n", " ")
        return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]

    @property
    def shown_file(self) -> Path:
        """The file that a `literalinclude` shows."""
        return (ROOT / self.page).parent / self.argument


def pages() -> list[Path]:
    """README and every page of the documentation."""
    built = ROOT / "docs" / "_build"
    found = sorted(page for page in (ROOT / "docs").rglob("*.md") if built not in page.parents)
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *found]


def blocks() -> list[Block]:
    """All fenced blocks of all pages."""
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
            yield Block(name, number, fence[2] or "", fence[3].strip(), "\n".join(inside))
