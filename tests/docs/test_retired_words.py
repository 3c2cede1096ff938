"""No file uses a retired word. docs/design/glossary.md lists the terms in use."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

import pytest

from tests.docs.pages import ROOT

TEXT = frozenset({".py", ".pyi", ".md", ".toml", ".html", ".ini", ".yml", ".yaml", ""})
NOT_OURS = frozenset({"LICENSE", "docs/design/glossary.md", "tests/docs/test_retired_words.py", "CHANGELOG.md"})
OLD_NAMES = ("changes/14.names.change.md", "tests/test_deprecated_names.py")
"""Files that describe or test the old names."""

RETIRED: dict[str, tuple[str, ...]] = {
    # calls and their attempts
    r"\b[Ll]egs?\b|_legs?\b|\bleg_|LegChecker": (),
    r"\bPooledCall\b|\bLine\(Protocol\)": (),
    r"\bCondition\b": ("eas_tw/__init__.py", "eas_tw/policy/outcomes.py", "eas_tw/net/clock_watch.py", *OLD_NAMES),
    r"\bStatus(?:es)?\.(?:CUT|WAITED|RETIRED|LATE)\b|\bAttemptStatus\.(?:CUT|WAITED|RETIRED|LATE)\b": OLD_NAMES,
    r"\boutcome\.condition\b": ("tests/test_deprecated_names.py",),
    r"\bsecond[- _]chances?\b": (),
    r"\bMARKS\b|\bmark_passed\b|\bhedging\.marks\b": (),
    r"\b[Kk]ept[ _]connections?\b|\bis_kept\b": (),
    # parts of a client
    r"\bendings\b|\bclass Told\b|\bTold\(ProcessBound\)|\btold\.py\b|\boutgoing\b": (),
    r"\b[Ee]nvelopes?\b|[Ll]etterheads?\b": (),
    r"\bWaitingRoom\b|\bclass (?:Calls|Family|Session)\b": (),
    r"\b[Tt]urnstiles?\b": (),
    # discovery and health
    r"\bRefusal\b|\bRefusedReplyError\b|\b[Rr]efused reply\b": ("eas_tw/policy/instances.py", *OLD_NAMES),
    r"\b[Jj]udge?ments?\b|\b[Vv]erdicts?\b": (),
    r"\bPace\b|\b_pace\b": (),
    # chance
    r"\b[Cc]hances?\b": (),
    # the simulator
    r"\b[Ll]ies?\b|\bLIES\b|\bLies\b": (
        "simulator/control_plane.py",  # the name of a random stream; another name would change the plan of every seed
        "simulator/expectations.py",  # "a number lies between two limits"
    ),
    r"\b[Tt]amper\w*": (),
    r"\bfault_book\b|\bFaultBook\b|\bclass Roll\b": (),
    r"/v1/strikes\b|\bon_strike\b|\bStrike\b|\.strikes\b|\bdef strikes\b|\bevery strike\b": (
        "eas_tw/testing/remote.py",
        "simulator/admin/operations/faults.py",
        "simulator/fault_registry.py",
        "tests/simulator/test_deprecated_api.py",
        *OLD_NAMES,
    ),
    # the simulation
    r"\b[Tt]roubles\b|\bActor\b|\bSubject\b|\bsubjects?\.|\bExplanations\b|\bTouch\b": (),
    r"\bBooks\b|BookChecker|ViewChecker|ChoiceChecker|\b[Dd]iary\b|\bphrases\b|\btaps\b": (),
    r"\b[Ww]eather\b": (),
    r"\bvnet\b|\bvtime\b": (),
    r"\breport\(\"[a-px]\"|\bbug\(\"[a-p]+[\" ]": (),
    # architecture
    r"\b(?:[Tt]he|[Ii]ts|[Ee]ach|[Ee]very) (?:one )?(?:served )?rooms?\b": (),
    r"\b[Hh]ouses?\b": (),
    r"\b[Ll]aws?\b": (),
    r"\bface\b": (),
    r"\bfronts\b|\bA front\b|\beither front\b": (),
    r"\bfloors\b": (),
    r"\barrows\b": ("docs/simulator/dashboard.md",),  # keys of a keyboard
}
"""Retired words as regular expressions, and the files in which they are allowed: an alias, or another meaning."""


@cache
def texts() -> dict[str, str]:
    """Return the text files of the repository by name."""
    git = shutil.which("git")
    command = (git or "git", "ls-files")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False) if git else None  # noqa: S603
    names = listed.stdout.split("\n") if listed is not None and listed.returncode == 0 else []
    if not any(names):
        pytest.skip("not in a work tree of git")
    found = {}
    for name in names:
        path = ROOT / name
        if name and name not in NOT_OURS and path.suffix in TEXT and path.is_file() and not name.endswith("_pb2.py"):
            found[name] = path.read_text("utf-8", "replace")
    return found


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_does_not_come_back(word: str) -> None:
    pattern, allowed = re.compile(word), RETIRED[word]
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts().items()
        if name not in allowed and pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], "\n".join(found[:40])


@pytest.mark.parametrize("word", RETIRED)
def test_every_exception_is_needed(word: str) -> None:
    """An exception must be removed when its file no longer contains the word."""
    pattern = re.compile(word)
    assert [name for name in RETIRED[word] if name not in OLD_NAMES and not pattern.search(texts().get(name, ""))] == []
