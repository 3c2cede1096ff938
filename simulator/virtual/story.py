"""Deprecated name of `simulator.virtual.reporting.report`."""

from __future__ import annotations

import warnings
from typing import Any

from simulator.virtual.reporting import report

_NAMES = frozenset({"LINES", "WORDS", "account", "explain", "replay_line", "tail"})


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = f"{report.__name__}.{name}"
    warnings.warn(f"{__name__}.{name} is deprecated: use {new}", DeprecationWarning, stacklevel=2)
    return getattr(report, name)
