"""Call PAI-EAS inference services from Twisted over the VPC direct connection.

`PredictClient` keeps the list of a service's instances in memory, spreads requests over them by weight, and moves a
failed request to another instance.
"""

from eas_tw.body import onnx_data_helper as OnnxDataHelper  # noqa: N812  the official SDK's name
from eas_tw.body.blade import BladeRequest, BladeResponse
from eas_tw.body.caffe import CaffeRequest, CaffeResponse
from eas_tw.body.easyrec import EasyRecRequest, EasyRecResponse
from eas_tw.body.json import JsonRequest, JsonResponse
from eas_tw.body.onnx import OnnxRequest, OnnxResponse
from eas_tw.body.request import Request
from eas_tw.body.schema import onnx_processor_data_pb2 as OnnxData  # noqa: N812  the official SDK's name
from eas_tw.body.text import StringRequest, StringResponse
from eas_tw.body.tf import TFRequest, TFResponse
from eas_tw.body.torch import TorchRequest, TorchResponse
from eas_tw.body.torchrec import TorchRecRequest, TorchRecResponse
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
    NoInstances,
    Overloaded,
    ProtocolViolation,
    RequestFailed,
    StatusError,
)
from eas_tw.policy.instances import Instance
from eas_tw.policy.outcomes import Attempt, Condition, Outcome

__all__ = [  # noqa: RUF022  as sorted() has it
    "Attempt",
    "BladeRequest",
    "BladeResponse",
    "BodyError",
    "CaffeRequest",
    "CaffeResponse",
    "ClientClosed",
    "ClientConfig",
    "Condition",
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
    "Instance",
    "JsonRequest",
    "JsonResponse",
    "NoInstances",
    "OnnxData",
    "OnnxDataHelper",
    "OnnxRequest",
    "OnnxResponse",
    "Outcome",
    "Overloaded",
    "PredictClient",
    "ProtocolViolation",
    "Request",
    "RequestFailed",
    "StatusError",
    "StringRequest",
    "StringResponse",
    "TFRequest",
    "TFResponse",
    "TorchRecRequest",
    "TorchRecResponse",
    "TorchRequest",
    "TorchResponse",
]
