"""The English and Chinese versions of a page have the same code, headings, tables and lists, and link to each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks

DOCS = ROOT / "docs"
PAIRS = {
    "README.zh-CN.md": "README.md",
    **{
        page.relative_to(ROOT).as_posix(): f"docs/{page.relative_to(DOCS / 'zh').as_posix()}"
        for page in sorted((DOCS / "zh").rglob("*.md"))
    },
}
TRANSLATED = sorted(set(PAIRS) - {"docs/zh/index.md"})  # the index lists only the pages that are translated
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def prose(page: str) -> str:
    """Return the text of a page without its fenced blocks."""
    return re.sub(r"^(`{3,}).*?^\1$", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


ENGLISH_ONLY = ("{toctree}", "{eval-rst}")
"""Directives that only the English page has: tables of contents, and the reference generated from docstrings."""


def code(page: str) -> list[tuple[str, object, dict[str, str]]]:
    """Return the contents of each block that both versions must have."""
    return [content(block) for block in blocks() if block.page == page and block.language not in ENGLISH_ONLY]


def content(block: Block) -> tuple[str, object, dict[str, str]]:
    included = block.language in ("{literalinclude}", "{image}", "{include}")
    return block.language, block.shown_file.resolve() if included else block.text, block.options


def outline(page: str) -> list[str]:
    """Return the kind of each heading, table row and list item, in order."""
    return re.findall(r"^(#+ |\||\s*- |\d+\. |!\[)", prose(page), re.MULTILINE)


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_languages_have_the_same_code(page: str) -> None:
    assert code(page) == code(PAIRS[page])


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_languages_have_the_same_headings_tables_and_lists(page: str) -> None:
    assert outline(page) == outline(PAIRS[page])


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_languages_have_the_same_names(page: str) -> None:
    """A name is any text in backticks."""
    here, there = (
        {" ".join(name.split()) for name in re.findall(r"(?<!`)`([^`]+)`", prose(each))} for each in (page, PAIRS[page])
    )
    assert here == there


@pytest.mark.parametrize("page", TRANSLATED)
def test_the_tables_of_both_languages_have_the_same_figures(page: str) -> None:
    here, there = (
        [sorted(re.findall(r"\d[\d,.]*\d|\d", row)) for row in re.findall(r"^\|.*", prose(each), re.MULTILINE)]
        for each in (page, PAIRS[page])
    )
    assert here == there


@pytest.mark.parametrize("page", PAIRS)
def test_each_language_links_to_the_other_at_the_top(page: str) -> None:
    for this, other, line in ((page, PAIRS[page], r"\[English\]\(([^)]+)\) \| 简体中文"), (PAIRS[page], page, None)):
        found = re.fullmatch(
            line or r"English \| \[简体中文\]\(([^)]+)\)", (ROOT / this).read_text("utf-8").split("\n")[2]
        )
        assert found, this
        assert (ROOT / this).parent.joinpath(found[1]).resolve() == ROOT / other


@pytest.mark.parametrize("page", PAIRS)
def test_chinese_text_has_its_own_punctuation_and_no_broken_lines(page: str) -> None:
    """Line breaks between two Chinese characters are errors, because browsers show them as spaces."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", prose(page))
    assert re.findall(r"[\u4e00-\u9fff][,;:?!]|[\u4e00-\u9fff]\n[\u4e00-\u9fff]", text) == []
    assert CHINESE.search(text)


def test_every_relative_link_of_the_readmes_leads_somewhere() -> None:
    for page in ("README.md", "README.zh-CN.md"):
        targets = re.findall(r"\]\(([^)#:]+?)(?:#[\w-]+)?\)", prose(page))
        assert len(targets) >= 20
        assert [target for target in targets if not Path(ROOT / target).exists()] == []
