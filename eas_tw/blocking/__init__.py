"""The client for programs without an event loop, with the names of the official SDK; safe to use in several threads.

A program written for the official SDK runs after changing its import line:

    from eas_tw.blocking import PredictClient, StringRequest, TFRequest

This package also exports the request classes, the constants and `ClientConfig` of `eas_tw`, under the same names.
"""

from __future__ import annotations

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
    Instance,
    JsonRequest,
    JsonResponse,
    OnnxData,
    OnnxDataHelper,
    OnnxRequest,
    OnnxResponse,
    Response,
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
    "Instance",
    "JsonRequest",
    "JsonResponse",
    "OnnxData",
    "OnnxDataHelper",
    "OnnxRequest",
    "OnnxResponse",
    "PredictClient",
    "PredictException",
    "Response",
    "ServerSentEvent",
    "Stream",
    "StringRequest",
    "StringResponse",
    "TFRequest",
    "TFResponse",
    "TorchRecRequest",
    "TorchRecResponse",
    "TorchRequest",
    "TorchResponse",
    "prefix_key",
]
