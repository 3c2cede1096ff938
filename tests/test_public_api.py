"""The public API has exactly the names in this list."""

from __future__ import annotations

from inspect import signature

import eas_tw
import eas_tw.blocking

PUBLIC_NAMES = {
    "Balancer",
    "CallInfo",
    "CallOptions",
    "RequestOptions",
    "StreamOptions",
    "prefix_key",
    "Frame",
    "PutResult",
    "QueueClient",
    "SearchResult",
    "SinkQueue",
    "Watcher",
    "LineSplitter",
    "OpeningStream",
    "Response",
    "ServerSentEvent",
    "ServerSentEventParser",
    "Stream",
    "StreamBroken",
    "body_decompressor",
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


def test_the_public_names_are_those_listed_here() -> None:
    assert eas_tw.__all__ == sorted(PUBLIC_NAMES)
    assert all(hasattr(eas_tw, name) for name in PUBLIC_NAMES)


def test_blocking_has_every_request_response_and_setting() -> None:
    """The expected names are computed from the package, so that this test fails for a new request class.

    These names are left out:

    * the errors, which `PredictException` replaces, and the classes that only their attempts use;
    * `Request`, a protocol for annotations, and the types of the keyword arguments of calls;
    * `OpeningStream`, a stream that is not open yet, and the tools for reading bytes without a stream.

    `__all__` is written out, because type checkers do not compute it.
    """
    errors = {name for name in eas_tw.__all__ if _is_error(getattr(eas_tw, name))}
    of_errors = {"AttemptResult", "AttemptStatus", "Outcome"}
    options = {"CallOptions", "RequestOptions", "StreamOptions"}
    by_hand = {"LineSplitter", "OpeningStream", "ServerSentEventParser", "body_decompressor"}
    expected = set(eas_tw.__all__) - errors - of_errors - by_hand - options - {"Request"}
    assert set(eas_tw.blocking.__all__) == expected | {"PredictException", "score"}
    own = {
        "PredictClient",
        "PutResult",
        "QueueClient",
        "SinkQueue",
        "Watcher",
        "Stream",
        "StringRequest",
        "StringResponse",
    }
    assert {name for name in expected if getattr(eas_tw.blocking, name) is not getattr(eas_tw, name)} == own


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def test_the_options_of_calls_are_those_of_the_client() -> None:
    """The signatures of the adapters use these types, so that each argument is defined once."""
    client = eas_tw.PredictClient
    for method, options, positional in (
        (client.predict, eas_tw.CallOptions, {"self", "request"}),
        (client.request, eas_tw.RequestOptions, {"self", "method", "path"}),
        (client.stream, eas_tw.StreamOptions, {"self", "request"}),
    ):
        parameters = signature(method).parameters
        assert set(options.__annotations__) | positional == set(parameters)
        assert {name: parameters[name].annotation for name in options.__annotations__} == {
            name: hint.__forward_arg__ for name, hint in options.__annotations__.items()
        }
