"""Position of pages in the navigation, their first paragraph, and the last section of the guides."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, pages

DOCS = ROOT / "docs"
PAGES = [path for path in pages() if DOCS in path.parents and path.name != "changelog.md"]
CAPTIONS = [
    "Tutorials", "How-to guides", "Operation", "Simulator", "Reference", "Explanation", "For contributors", "简体中文",
]  # fmt: skip
PROGRAMS = ["twisted", "asyncio", "scrapy", "blocking", "language-models", "cli"]


def trees() -> list[tuple[str, Path, list[Path]]]:
    """Return caption, page and entries of each table of contents."""
    found = []
    for block in blocks():
        if block.language == "{toctree}":
            page = ROOT / block.page
            entries = [(page.parent / name).with_suffix(".md").resolve() for name in block.text.split()]
            found.append((block.options.get("caption", ""), page, entries))
    return found


def test_the_navigation_is_divided_by_the_purpose_of_pages() -> None:
    """Tutorials, guides, reference, explanation and pages for contributors are separate."""
    assert [caption for caption, page, _ in trees() if page == DOCS / "index.md"] == CAPTIONS


def test_every_page_is_in_one_place_of_the_navigation() -> None:
    listed = Counter(entry for _, _, entries in trees() for entry in entries)
    twice = [path.relative_to(DOCS).as_posix() for path, times in listed.items() if times > 1]
    assert not twice, f"{twice}: remove it from all toctrees but one"
    found, known = {DOCS / "index.md", *listed}, {path for path in pages() if DOCS in path.parents}
    missing = sorted(path.relative_to(DOCS).as_posix() for path in known - found)
    assert not missing, f"{missing}: add it to the toctree of the index.md above it in docs (or of docs/index.md)"
    gone = sorted(path.relative_to(DOCS).as_posix() for path in found - known)
    assert not gone, f"{gone}: a toctree names it, but there is no such page in docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_a_page_begins_with_a_paragraph_of_text(page: Path) -> None:
    """A page begins with a title, the link to the other language if there is one, and text, not code or a table."""
    title, *parts = page.read_text("utf-8").split("\n\n")
    assert re.fullmatch(r"# .+", title)
    first = parts[1] if parts[0].endswith(("简体中文", "简体中文)")) or "[简体中文]" in parts[0] else parts[0]
    assert not re.match(r"[`:|#>-]{2,}|[-*|] ", first), f"{page.name} begins with {first[:40]!r}"
    assert len(first) >= 30


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_guide_for_a_kind_of_program_ends_with_a_section_on_failures(name: str) -> None:
    *_, last = (DOCS / "howto" / f"{name}.md").read_text("utf-8").split("\n## ")
    title, _, text = last.partition("\n")
    assert title == "The failure it survives"
    assert "crash" in text
