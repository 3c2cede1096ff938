"""Validation of one row of a discovery reply, for both reply formats."""

from __future__ import annotations

import json
import math
import re
from enum import StrEnum
from sys import intern
from typing import TYPE_CHECKING, Any

from eas_tw.policy.hosts import checked_host
from eas_tw.policy.instance import MAX_WEIGHT, Instance
from eas_tw.policy.json_rows import TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN_CHARS = 40
_SHOWN_BITS = 128
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
"""The form of nearly all addresses; any other text is checked by `checked_host`, which is slower."""
_MAX_PORT = 65535
_MAX_APP = 256
"""The maximum length of an application's name, in characters."""


class RowFault(StrEnum):
    """The reason why a row of a usable reply was dropped."""

    NOT_AN_OBJECT = "not_an_object"
    IP = "ip"
    PORT = "port"
    WEIGHT = "weight"
    BEYOND_LIMIT = "beyond_limit"
    """The list already has `MAX_INSTANCES` other instances."""


class BadRowError(ValueError):
    """A row does not describe an instance; the message contains the field and its value.

    Attributes:
        fault: The reason, one of `RowFault`.
    """

    def __init__(self, fault: RowFault, detail: str) -> None:
        super().__init__(fault, detail)  # all arguments, because unpickling passes `args` to the class
        self.fault = fault

    def __str__(self) -> str:
        return str(self.args[1])


def checked_instance(row: Mapping[str, Any]) -> Instance:
    """Return the instance that a row of an upstreams reply describes.

    Raises:
        BadRowError: The row does not describe an instance.
    """
    ip, port, weight = row.get("ip"), row.get("port"), row.get("weight")
    if (
        type(port) is int
        and 1 <= port <= _MAX_PORT
        and (type(weight) is int or type(weight) is float)
        and 0 <= weight <= MAX_WEIGHT
        and type(ip) is str
        and _IPV4.fullmatch(ip)
    ):
        return Instance(ip, port, weight, _app(row))
    return Instance(_ip(row), _port(row), _weight(row), _app(row))


def vipserver_row(row: Mapping[str, Any]) -> Instance | None:
    """Return the instance that a row of a VIPServer reply describes; `None` if the row is marked as not valid."""
    return None if row.get("valid") is False else checked_instance(row)


def _ip(row: Mapping[str, Any]) -> str:
    ip = row.get("ip")
    if isinstance(ip, str):
        try:
            return checked_host(ip)
        except ValueError:
            pass
    raise BadRowError(RowFault.IP, f"ip must be an address, got {short(ip)}")


def _port(row: Mapping[str, Any]) -> int:
    port = row.get("port")
    if isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= _MAX_PORT:
        return port
    raise BadRowError(RowFault.PORT, f"port must be a whole number from 1 to {_MAX_PORT}, got {short(port)}")


def _weight(row: Mapping[str, Any]) -> float:
    weight = row.get("weight")
    if isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight <= MAX_WEIGHT:
        return weight
    raise BadRowError(RowFault.WEIGHT, f"weight must be a number from 0 to {MAX_WEIGHT:,}, got {short(weight)}")


def _app(row: Mapping[str, Any]) -> str:
    """Return the application's name, interned, because many rows share it; empty if it is no string or too long."""
    app = row.get("app")
    return intern(app) if type(app) is str and len(app) <= _MAX_APP else ""


def short(value: object) -> str:
    """Format a value briefly for an error message; strings are truncated to 40 characters."""
    if isinstance(value, str):
        text = json.dumps(value[: _SHOWN_CHARS + 1])
        return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:g}"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a number of more than 38 digits"
    if value is None or isinstance(value, int):
        return json.dumps(value)
    if value is TOO_DEEP:
        return "nested too deeply"
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else type(value).__name__
