"""The public API: nothing comes or goes unnoticed."""

from __future__ import annotations

import eas_tw

PUBLIC_NAMES = {
    "AttemptResult",
    "BladeRequest",
    "BladeResponse",
    "BodyError",
    "CaffeRequest",
    "CaffeResponse",
    "ClientClosed",
    "ClientConfig",
    "AttemptStatus",
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
    "LocalResourceError",
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
}


def test_the_face_is_what_is_promised() -> None:
    """Sorted, and everything is there."""
    assert eas_tw.__all__ == sorted(PUBLIC_NAMES)
    assert all(hasattr(eas_tw, name) for name in PUBLIC_NAMES)
