"""Words that several errors share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MANY = 8


def shortened(names: Iterable[str]) -> str:
    """Names with commas, of many the first ones; `none` for none."""
    found = list(names)
    return (", ".join(found[:_MANY]) or "none") + (", …" if len(found) > _MANY else "")
