"""Phrases that several error messages share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MANY = 8


def shortened(names: Iterable[str]) -> str:
    """Join names with commas; `…` replaces the names after the eighth. Without names, return `none`."""
    found = list(names)
    return (", ".join(found[:_MANY]) or "none") + (", …" if len(found) > _MANY else "")
