"""For programs without an event loop: the official SDK's names, calls that return their answer, threads welcome.

A program written for the official SDK runs after changing its import line:

    from eas_tw.blocking import PredictClient, StringRequest, TFRequest

Everything of `eas_tw` that does not wait (requests, constants, `ClientConfig`) is here under the same name.
"""

from __future__ import annotations

from typing import Any

import eas_tw
from eas_tw import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_VIPSERVER, ClientConfig, TFRequest
from eas_tw.blocking.client import PredictClient
from eas_tw.blocking.errors import PredictException
from eas_tw.blocking.text import StringRequest, StringResponse

__all__ = [
    "ENDPOINT_TYPE_DEFAULT",
    "ENDPOINT_TYPE_DIRECT",
    "ENDPOINT_TYPE_VIPSERVER",
    "ClientConfig",
    "PredictClient",
    "PredictException",
    "StringRequest",
    "StringResponse",
    "TFRequest",
]


def __getattr__(name: str) -> Any:
    if name in eas_tw.__all__:
        return getattr(eas_tw, name)
    raise AttributeError(f"eas_tw.blocking has no {name!r}")
