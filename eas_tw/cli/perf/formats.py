"""The formats of `--output`: functions that convert the JSON document to text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eas_tw.cli.perf.text import as_csv, pretty

if TYPE_CHECKING:
    from collections.abc import Callable


def _json(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False)


def _csv(result: dict[str, Any]) -> str:
    return as_csv(result).removesuffix("\n")


def _html(result: dict[str, Any]) -> str:
    from eas_tw.cli.perf.page import page  # noqa: PLC0415  most runs write no page

    return page(result)


FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {"pretty": pretty, "json": _json, "csv": _csv, "html": _html}
