"""Call PAI-EAS inference services from Twisted over the VPC direct connection.

`PredictClient` keeps the list of a service's instances in memory, spreads requests over them by weight, and moves a
failed request to another instance.
"""

from typing import TYPE_CHECKING

from eas_tw.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from eas_tw.body import onnx_data_helper as OnnxDataHelper  # noqa: N812  the official SDK's name
    from eas_tw.body.blade import BladeRequest, BladeResponse
    from eas_tw.body.caffe import CaffeRequest, CaffeResponse
    from eas_tw.body.easyrec import EasyRecRequest, EasyRecResponse
    from eas_tw.body.json import JsonRequest, JsonResponse
    from eas_tw.body.onnx import OnnxRequest, OnnxResponse
    from eas_tw.body.piecewise import body_decompressor
    from eas_tw.body.request import Request
    from eas_tw.body.schema import onnx_processor_data_pb2 as OnnxData  # noqa: N812  the official SDK's name
    from eas_tw.body.server_sent_events import LineSplitter, ServerSentEvent, ServerSentEventParser
    from eas_tw.body.text import StringRequest, StringResponse
    from eas_tw.body.tf import TFRequest, TFResponse
    from eas_tw.body.torch import TorchRequest, TorchResponse
    from eas_tw.body.torchrec import TorchRecRequest, TorchRecResponse
    from eas_tw.call_options import CallOptions, RequestOptions, StreamOptions
    from eas_tw.client import PredictClient
    from eas_tw.config import (
        ENDPOINT_TYPE_DEFAULT,
        ENDPOINT_TYPE_DIRECT,
        ENDPOINT_TYPE_FIXED,
        ENDPOINT_TYPE_VIPSERVER,
        ClientConfig,
    )
    from eas_tw.errors import (
        BodyError,
        ClientClosed,
        ConfigError,
        ConnectionFailed,
        DeadlineExceeded,
        DiscoveryError,
        EasError,
        LocalResourceError,
        NoInstances,
        Overloaded,
        ProtocolViolation,
        RequestFailed,
        StatusError,
        StreamBroken,
    )
    from eas_tw.keys import prefix_key
    from eas_tw.policy.balancing import Balancer, CallInfo
    from eas_tw.policy.instance import Instance
    from eas_tw.policy.outcomes import AttemptResult, AttemptStatus, Outcome
    from eas_tw.queue.client import QueueClient, SinkQueue
    from eas_tw.queue.frames import Frame, PutResult, SearchResult
    from eas_tw.queue.watcher import Watcher
    from eas_tw.response import Response
    from eas_tw.streaming import OpeningStream, Stream

__all__ = [  # noqa: RUF022  as sorted() has it
    "AttemptResult",
    "AttemptStatus",
    "Balancer",
    "BladeRequest",
    "BladeResponse",
    "BodyError",
    "CaffeRequest",
    "CaffeResponse",
    "CallInfo",
    "CallOptions",
    "ClientClosed",
    "ClientConfig",
    "ConfigError",
    "ConnectionFailed",
    "DeadlineExceeded",
    "DiscoveryError",
    "ENDPOINT_TYPE_DEFAULT",
    "ENDPOINT_TYPE_DIRECT",
    "ENDPOINT_TYPE_FIXED",
    "ENDPOINT_TYPE_VIPSERVER",
    "EasError",
    "EasyRecRequest",
    "EasyRecResponse",
    "Frame",
    "Instance",
    "JsonRequest",
    "JsonResponse",
    "LineSplitter",
    "LocalResourceError",
    "NoInstances",
    "OnnxData",
    "OnnxDataHelper",
    "OnnxRequest",
    "OnnxResponse",
    "OpeningStream",
    "Outcome",
    "Overloaded",
    "PredictClient",
    "ProtocolViolation",
    "PutResult",
    "QueueClient",
    "Request",
    "RequestFailed",
    "RequestOptions",
    "Response",
    "SearchResult",
    "ServerSentEvent",
    "ServerSentEventParser",
    "SinkQueue",
    "StatusError",
    "Stream",
    "StreamBroken",
    "StreamOptions",
    "StringRequest",
    "StringResponse",
    "TFRequest",
    "TFResponse",
    "TorchRecRequest",
    "TorchRecResponse",
    "TorchRequest",
    "TorchResponse",
    "Watcher",
    "body_decompressor",
    "prefix_key",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "AttemptResult": "eas_tw.policy.outcomes",
            "AttemptStatus": "eas_tw.policy.outcomes",
            "Balancer": "eas_tw.policy.balancing",
            "BladeRequest": "eas_tw.body.blade",
            "BladeResponse": "eas_tw.body.blade",
            "BodyError": "eas_tw.errors",
            "CaffeRequest": "eas_tw.body.caffe",
            "CaffeResponse": "eas_tw.body.caffe",
            "CallInfo": "eas_tw.policy.balancing",
            "CallOptions": "eas_tw.call_options",
            "ClientClosed": "eas_tw.errors",
            "ClientConfig": "eas_tw.config",
            "ConfigError": "eas_tw.errors",
            "ConnectionFailed": "eas_tw.errors",
            "DeadlineExceeded": "eas_tw.errors",
            "DiscoveryError": "eas_tw.errors",
            "ENDPOINT_TYPE_DEFAULT": "eas_tw.config",
            "ENDPOINT_TYPE_DIRECT": "eas_tw.config",
            "ENDPOINT_TYPE_FIXED": "eas_tw.config",
            "ENDPOINT_TYPE_VIPSERVER": "eas_tw.config",
            "EasError": "eas_tw.errors",
            "EasyRecRequest": "eas_tw.body.easyrec",
            "EasyRecResponse": "eas_tw.body.easyrec",
            "Frame": "eas_tw.queue.frames",
            "Instance": "eas_tw.policy.instance",
            "JsonRequest": "eas_tw.body.json",
            "JsonResponse": "eas_tw.body.json",
            "LineSplitter": "eas_tw.body.server_sent_events",
            "LocalResourceError": "eas_tw.errors",
            "NoInstances": "eas_tw.errors",
            "OnnxData": "eas_tw.body.schema.onnx_processor_data_pb2:",
            "OnnxDataHelper": "eas_tw.body.onnx_data_helper:",
            "OnnxRequest": "eas_tw.body.onnx",
            "OnnxResponse": "eas_tw.body.onnx",
            "OpeningStream": "eas_tw.streaming",
            "Outcome": "eas_tw.policy.outcomes",
            "Overloaded": "eas_tw.errors",
            "PredictClient": "eas_tw.client",
            "ProtocolViolation": "eas_tw.errors",
            "PutResult": "eas_tw.queue.frames",
            "QueueClient": "eas_tw.queue.client",
            "Request": "eas_tw.body.request",
            "RequestFailed": "eas_tw.errors",
            "RequestOptions": "eas_tw.call_options",
            "Response": "eas_tw.response",
            "SearchResult": "eas_tw.queue.frames",
            "ServerSentEvent": "eas_tw.body.server_sent_events",
            "ServerSentEventParser": "eas_tw.body.server_sent_events",
            "SinkQueue": "eas_tw.queue.client",
            "StatusError": "eas_tw.errors",
            "Stream": "eas_tw.streaming",
            "StreamBroken": "eas_tw.errors",
            "StreamOptions": "eas_tw.call_options",
            "StringRequest": "eas_tw.body.text",
            "StringResponse": "eas_tw.body.text",
            "TFRequest": "eas_tw.body.tf",
            "TFResponse": "eas_tw.body.tf",
            "TorchRecRequest": "eas_tw.body.torchrec",
            "TorchRecResponse": "eas_tw.body.torchrec",
            "TorchRequest": "eas_tw.body.torch",
            "TorchResponse": "eas_tw.body.torch",
            "prefix_key": "eas_tw.keys",
            "Watcher": "eas_tw.queue.watcher",
            "body_decompressor": "eas_tw.body.piecewise",
        },
        deprecated={"Attempt": "AttemptResult", "Condition": "AttemptStatus"},
    )
