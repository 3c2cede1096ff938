"""Records which lines of the client a batch of seeds has run.

To save time, only the named files are traced, and each function only until all its lines have run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import eas_tw
from simulator.virtual.soaking import Sum, run_seeds

ROOT = Path(eas_tw.__file__).parent
Lines = dict[str, set[int]]


def lines_of(names: Iterable[str]) -> Lines:
    """Return the lines of all functions in files, which are named relative to the package."""
    return {name: {line for code in _functions(_compiled(name)) for line in _lines(code)} for name in names}


def text_of(name: str, line: int) -> str:
    """Return the text of a line, which identifies the line even if line numbers change."""
    return (ROOT / name).read_text("utf-8").splitlines()[line - 1].strip()


def reached(seeds: Sequence[int], profile: str, hours: float, names: Sequence[str]) -> tuple[Sum, Lines]:
    """Run seeds of a profile; return the sum of their results (`run_seeds`), and the lines that ran."""
    files = {str(ROOT / name): name for name in names}
    found: Lines = {name: set() for name in names}
    left: dict[CodeType, set[int]] = {}

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        lines = left.get(code)
        if lines is None:
            lines = left[code] = _lines(code) if code.co_filename in files else set()
        return step if lines and event == "call" else None

    def step(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if event == "line":
            left[code].discard(frame.f_lineno)
            found[files[code.co_filename]].add(frame.f_lineno)
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        return run_seeds(seeds, profile, hours), found
    finally:
        sys.settrace(before)


def _compiled(name: str) -> CodeType:
    return compile((ROOT / name).read_text("utf-8"), str(ROOT / name), "exec", dont_inherit=True)


def _functions(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            # CO_NEWLOCALS (2) is set for the code of functions, and not for that of class bodies.
            if inner.co_flags & 2:
                yield inner
            yield from _functions(inner)


def _lines(code: CodeType) -> set[int]:
    return {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
