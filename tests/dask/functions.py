"""Decoders that Dask workers import by name."""

from __future__ import annotations

from typing import Any


def decode(_: Any, response: Any) -> dict[str, Any]:
    return {"id": response.data["id"], "double": response.data["x"] * 2}


def of_bag(row: Any, response: Any) -> Any:
    return (row, response.data)
