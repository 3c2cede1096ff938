"""The client for programs without an event loop, with the names of the official SDK; safe to use in several threads.

A program written for the official SDK runs after changing its import line:

    from eas_tw.blocking import PredictClient, StringRequest, TFRequest

This package also exports the request classes, the constants and `ClientConfig` of `eas_tw`, under the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_DIRECT,
    ENDPOINT_TYPE_FIXED,
    ENDPOINT_TYPE_VIPSERVER,
    Balancer,
    BladeRequest,
    BladeResponse,
    CaffeRequest,
    CaffeResponse,
    CallInfo,
    ClientConfig,
    EasyRecRequest,
    EasyRecResponse,
    Frame,
    Instance,
    JsonRequest,
    JsonResponse,
    OnnxData,
    OnnxDataHelper,
    OnnxRequest,
    OnnxResponse,
    Response,
    SearchResult,
    ServerSentEvent,
    TFRequest,
    TFResponse,
    TorchRecRequest,
    TorchRecResponse,
    TorchRequest,
    TorchResponse,
    prefix_key,
)
from eas_tw.blocking.client import PredictClient
from eas_tw.blocking.errors import PredictException
from eas_tw.blocking.stream import Stream
from eas_tw.blocking.text import StringRequest, StringResponse
from eas_tw.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from eas_tw.blocking.queue import PutResult, QueueClient, SinkQueue, Watcher
    from eas_tw.bulk.threads import score

__all__ = [
    "ENDPOINT_TYPE_DEFAULT",
    "ENDPOINT_TYPE_DIRECT",
    "ENDPOINT_TYPE_FIXED",
    "ENDPOINT_TYPE_VIPSERVER",
    "Balancer",
    "BladeRequest",
    "BladeResponse",
    "CaffeRequest",
    "CaffeResponse",
    "CallInfo",
    "ClientConfig",
    "EasyRecRequest",
    "EasyRecResponse",
    "Frame",
    "Instance",
    "JsonRequest",
    "JsonResponse",
    "OnnxData",
    "OnnxDataHelper",
    "OnnxRequest",
    "OnnxResponse",
    "PredictClient",
    "PredictException",
    "PutResult",
    "QueueClient",
    "Response",
    "SearchResult",
    "ServerSentEvent",
    "SinkQueue",
    "Stream",
    "StringRequest",
    "StringResponse",
    "TFRequest",
    "TFResponse",
    "TorchRecRequest",
    "TorchRecResponse",
    "TorchRequest",
    "TorchResponse",
    "Watcher",
    "prefix_key",
    "score",
]

if not TYPE_CHECKING:
    # Lazy, because `eas_tw.bulk` imports this package, and because the queue client needs wsproto, which other programs
    # should not load.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            **dict.fromkeys(("PutResult", "QueueClient", "SinkQueue", "Watcher"), "eas_tw.blocking.queue"),
            "score": "eas_tw.bulk.threads",
        },
    )
