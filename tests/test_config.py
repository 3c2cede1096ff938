"""Wrong settings, setters and arguments of calls raise a `ConfigError` that names them."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from twisted.internet.task import Clock

import eas_tw
import eas_tw.aio
import eas_tw.blocking
from eas_tw import AttemptStatus, BodyError, ClientConfig, ConfigError, PredictClient
from eas_tw.blocking import PredictException
from eas_tw.display import shown
from tests.net.calling import Harness, Result

HUGE = 10**5000


class Odd:
    """An invalid value for any setting. Its repr is the same in each process, because test ids contain it."""

    def __repr__(self) -> str:
        return "<odd>"


NUMBERS = {
    name: value
    for name, value in attrs.asdict(ClientConfig(), recurse=False).items()
    if isinstance(value, int | float) and not isinstance(value, bool)
} | {
    "attempt_timeout_s": 1.0, "subset_size": 3, "max_in_flight_per_instance": 3, "outlier_success_gap": 0.5,
    "outlier_latency_ratio": 2.0, "seed": 3, "hedge_after_s": 0.5,
}  # fmt: skip
WRONG = {
    "NaN": math.nan,
    "numpy NaN": np.float32("nan"),
    "inf": math.inf,
    "-inf": -math.inf,
    "huge": HUGE,
    "-huge": -HUGE,
    "1e308": 1e308,
    "True": True,
    "numpy True": np.bool_(True),
    "text": "5",
    "bytes": b"5",
    "Decimal": Decimal(1),
    "complex": 1j,
    "list": [1],
    "array": np.array([1, 2]),
    "object": Odd(),
}


ABOVE_1 = ("outlier_latency_ratio", "hash_load_factor")


def is_told(error: BaseException, name: str) -> bool:
    """Return whether the error is one bounded line with the setting's name, the allowed values and the given value."""
    text = str(error)
    return text.startswith(f"{name} must be ") and "got " in text and len(text) < 250 and "\n" not in text


def test_every_number_is_in_the_table() -> None:
    others = {
        "discovery_path", "retry_on", "balancer", "instance_filter", "auth", "trust_roots", "snapshot_path", "compress",
        "decompress", "queue_watch",
    }  # fmt: skip
    assert {field.name for field in attrs.fields(ClientConfig)} == {*NUMBERS, *others}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [(name, wrong) for name in NUMBERS for wrong in WRONG if (name, wrong) != ("hedge_after_s", "text")],
)
def test_a_wrong_number_is_an_error_of_one_line(name: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientConfig(**{name: WRONG[wrong]})
    assert is_told(caught.value, name), caught.value
    with pytest.raises(ConfigError):
        ClientConfig().but(**{name: WRONG[wrong]})


def test_an_error_about_hedging_has_the_allowed_names() -> None:
    with pytest.raises(ConfigError, match=r"hedge_after_s must be a number > 0, \"p95\", \"late\" or None, got 'soon'"):
        ClientConfig(hedge_after_s="soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_numpy_are_accepted(name: str) -> None:
    """Numbers of numpy are converted to Python's types, so that a configuration can be unpickled without numpy."""
    default = NUMBERS[name]
    kinds: list[Any] = [np.int64, np.uint8] if isinstance(default, int) else [np.float64, np.float32, Fraction]
    for kind in kinds:
        number = kind(1 if isinstance(default, int) else Fraction(3, 2) if name in ABOVE_1 else 0.5)
        kept = getattr(ClientConfig(**{name: number}), name)
        assert kept == number
        assert type(kept) in (int, float)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"timeout_s": HUGE}, "timeout_s must be a number > 0 and < 2**63, got an integer of about 5001 digits"),
        ({"timeout_s": -1}, "timeout_s must be a number > 0, got -1"),
        ({"poll_jitter": 1.5}, "poll_jitter must be a number ≥ 0 and ≤ 1, got 1.5"),
        ({"attempts": 2.0}, "attempts must be a whole number ≥ 1, got 2.0"),
        ({"attempt_timeout_s": 0}, "attempt_timeout_s must be a number > 0, or None, got 0"),
        ({"balancer": ["wrr"]}, "balancer must be one of 'wrr', 'p2c', 'hash', or a class"),
        ({"balancer": np.array(["wrr", "p2c"])}, "balancer must be one of 'wrr', 'p2c', 'hash', or a class"),
        ({"balancer": "round"}, "balancer must be one of 'wrr', 'p2c', 'hash', or a class or function"),
        ({"instance_filter": 5}, "instance_filter must be a function of an Instance, or None, got 5"),
        ({"auth": 10**400}, "auth must be one of 'signature', 'token', 'bearer', got an integer of about 401 digits"),
        ({"compress": 5}, "compress must be one of 'gzip'"),
        ({"discovery_path": 5}, 'discovery_path must look like "/…/{service}", got 5'),
        ({"discovery_path": "/x/{service}/{other}"}, 'discovery_path must look like "/…/{service}"'),
        ({"discovery_path": "/x/{service.__class__}"}, 'discovery_path must look like "/…/{service}"'),
        ({"discovery_path": "/x y/{service}"}, 'discovery_path must look like "/…/{service}"'),
        ({"snapshot_path": ""}, "snapshot_path must be a path as text, or None, got ''"),
        ({"snapshot_path": b"/tmp"}, "snapshot_path must be a path as text, or None, got b'/tmp'"),
        ({"trust_roots": "a\0b"}, "trust_roots must be a path as text, or None"),
        ({"retry_on": 5}, 'retry_on must be a list such as ["lost", 503], got 5'),
        ({"retry_on": "lost"}, "retry_on must be a list such as [\"lost\", 503], got 'lost'"),
        ({"retry_on": None}, 'retry_on must be a list such as ["lost", 503], got None'),
        ({"retry_on": np.array(503)}, 'retry_on must be a list such as ["lost", 503], got array(503)'),
        ({"retry_on": [True]}, "retry_on takes HTTP statuses from 100 to 599 and attempt statuses"),
        ({"retry_on": [HUGE]}, "retry_on takes HTTP statuses from 100 to 599 and attempt statuses"),
        ({"retry_on": [99]}, "retry_on takes HTTP statuses from 100 to 599 and attempt statuses"),
        ({"retry_on": [[]]}, "retry_on takes HTTP statuses from 100 to 599 and attempt statuses"),
    ],
)
def test_errors_have_the_allowed_values(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientConfig(**settings)
    assert str(caught.value).startswith(text)
    assert len(str(caught.value)) < 500


def test_valid_settings_are_accepted() -> None:
    truncated = AttemptStatus.RESPONSE_TRUNCATED
    config = ClientConfig(snapshot_path=Path("/tmp/x"), retry_on=[np.int64(503), "lost", truncated])  # type: ignore[arg-type]  # noqa: S108
    assert config.snapshot_path == "/tmp/x"  # noqa: S108
    assert config.retry_on == {503, AttemptStatus.LOST, AttemptStatus.RESPONSE_TRUNCATED}
    assert ClientConfig(timeout_s=2**63 - 1, max_waiting=2**63 - 1).max_waiting == 2**63 - 1


def twisted(**arguments: Any) -> Any:
    return PredictClient(**{"reactor": Clock(), **arguments})


MAKERS: dict[str, tuple[Callable[..., Any], type[Exception]]] = {
    "Twisted": (twisted, ConfigError),
    "asyncio": (eas_tw.aio.PredictClient, ConfigError),
    "blocking": (eas_tw.blocking.PredictClient, PredictException),
}
ODD_ARGUMENTS: list[dict[str, Any]] = [
    {"endpoint": 5},
    {"endpoint": b"http://e"},
    {"endpoint": ["http://e"]},
    {"endpoint": "x" * 10_000 + " "},
    {"service_name": 5},
    {"service_name": HUGE},
    {"custom_url": 5},
    {"endpoint_type": 5},
    {"endpoint_type": ["DIRECT"]},
    {"endpoint_type": np.array(["DIRECT", "FIXED"])},
    {"endpoint_type": []},
    {"token": 5},
    {"token": b"t"},
    {"token": "t\n"},
    {"instances": 5},
    {"instances": np.array(5)},
    {"instances": [5]},
    {"instances": [("10.0.0.1", HUGE)]},
    {"instances": [("10.0.0.1", 80, math.nan)]},
    {"instances": ["10.0.0.1:80"]},
    {"config": 5},
    {"config": {}},
    {"config": {"timeout_s": 1}},
]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("arguments", ODD_ARGUMENTS, ids=shown)
def test_invalid_arguments_are_refused_when_the_client_is_made(kind: str, arguments: dict[str, Any]) -> None:
    make, error = MAKERS[kind]
    with pytest.raises(error) as caught:
        make(**arguments)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["Twisted", "blocking"])
@pytest.mark.parametrize("reactor", [5, object(), "epoll"])
def test_an_object_that_is_no_reactor_is_refused(kind: str, reactor: Any) -> None:
    make, error = MAKERS[kind]
    with pytest.raises(error, match="reactor must be a Twisted reactor"):
        make(reactor=reactor)


def test_an_object_that_is_no_agent_is_refused() -> None:
    with pytest.raises(ConfigError, match="agent must have request"):
        twisted(agent=5)


ODD_SETTINGS: list[tuple[str, Any]] = [
    *(("set_timeout", value) for value in (*WRONG.values(), 0, -1, None)),
    *(("set_retry_count", value) for value in (*WRONG.values(), 0, 1.5, None)),
    *(("set_max_connection_count", value) for value in (*WRONG.values(), 0, 1.5, None)),
    *(("add_extra_headers", value) for value in (5, None, "a: b", [("a", "b")], {"a": 5}, {5: "a"}, {"a b": "c"})),
    *(("add_extra_headers", {name: "x"}) for name in ("Host", "Authorization", "x" * 10_000 + " ")),
    *(("set_content_type", value) for value in (5, None, "", b"text/plain", "a\r\nb", "名")),
    *(("set_token", value) for value in (5, None, b"t", "a\nb", "名")),
    *(("set_endpoint", value) for value in (5, b"http://e", "http://e/a?b", "http://e:99999")),
    *(("set_service_name", value) for value in (5, "a b", "..", HUGE)),
    *(("set_endpoint_type", value) for value in (5, "direct", None, [])),
]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("setter", "value"), ODD_SETTINGS, ids=shown)
def test_setters_refuse_invalid_values_and_keep_the_old_ones(kind: str, setter: str, value: Any) -> None:
    make, error = MAKERS[kind]
    client = make(endpoint="http://e", service_name="s", token="t")
    with pytest.raises(error) as caught:
        getattr(client, setter)(value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
    client.set_timeout(np.int64(1500))
    client.set_retry_count(np.int32(2))


def test_messages_of_setters_name_the_setting() -> None:
    client = twisted()
    for setter, text in (
        ("set_timeout", "timeout, in milliseconds, must be a number > 0, got '5'"),
        ("set_retry_count", "retry_count must be a whole number ≥ 1, got '5'"),
        ("set_max_connection_count", "max_connection_count must be a whole number ≥ 1, got '5'"),
    ):
        with pytest.raises(ConfigError) as caught:
            getattr(client, setter)("5")
        assert str(caught.value) == text


def test_the_smallest_timeout_is_not_zero() -> None:
    client = twisted()
    client.set_timeout(5e-324)
    assert client.config.timeout_s > 0


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("listener", [5, None, "print", Unshowable()], ids=lambda value: type(value).__name__)
def test_a_wrong_listener_is_refused_at_once_and_not_recorded(kind: str, listener: Any) -> None:
    """If a wrong listener were recorded, `init` of an asyncio client and every call in a forked child would fail."""
    make, error = MAKERS[kind]
    client = make(endpoint="http://e", service_name="s")
    with pytest.raises(error, match="a listener must be a function of one event"):
        client.listen(listener)
    if kind != "Twisted":
        client._start(Clock())


@pytest.mark.parametrize("timeout_s", [0, -1, "1", float("nan"), 10**400, True, []], ids=shown)
def test_the_time_to_wait_for_a_list_is_checked(timeout_s: Any) -> None:
    client = eas_tw.blocking.PredictClient(
        service_name="s", instances=[("10.0.0.1", 80)], config=ClientConfig(init_timeout_s=1.0)
    )
    with pytest.raises(PredictException, match="timeout_s must be a number > 0"):
        client.wait_until_ready(timeout_s)
    client.destroy()


@pytest.mark.parametrize("level", ["nope", None, 1.5, [], Unshowable()])
def test_an_unknown_log_level_is_a_predict_exception(level: Any) -> None:
    with pytest.raises(PredictException, match="log_level must be a level of logging"):
        eas_tw.blocking.PredictClient("http://e", "s").set_log_level(level)


ODD_CALLS: list[dict[str, Any]] = [
    *({"timeout_s": value} for value in (*WRONG.values(), 0, -1)),
    *({"path": value} for value in (5, b"/a", "a b", "a?b", ["a"], np.array(["a", "b"]))),
    *({"query": value} for value in (5, "a b", "a#b", {"a": "\ud800"}, [5], np.array([1, 2]))),
    *({"headers": value} for value in (5, 0, "a", [("a", "b")], {"a": 5}, {"a": "b\r\nc"}, {"Host": "x"})),
]


@pytest.mark.parametrize("options", ODD_CALLS, ids=shown)
def test_invalid_arguments_of_a_call_fail_its_deferred(options: dict[str, Any]) -> None:
    harness = Harness(2)
    call = harness.call(**options)
    assert isinstance(call.error, ConfigError)
    assert len(str(call.error)) < 500
    assert harness.reactor.dials == []
    assert harness.client.counters.calls == 0
    harness.assert_clean()


class Said:
    """A request whose body can be any object."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def to_string(self) -> Any:
        return self.body

    def parse_response(self, content: bytes) -> bytes:
        return content


def sent_by(harness: Harness, request: Any) -> bytes:
    call = Result(harness.client.predict(request))
    assert not call.fired, call.fired
    written = harness.accept().take()
    call.deferred.cancel()
    return written.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("token", ["", "t0ken"])
@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b"abc", b"abc"),
        ("名", "名".encode()),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(bytearray(8)).cast("I"), bytes(8)),
        (np.arange(3, dtype=np.uint8), b"\0\1\2"),
    ],
    ids=["bytes", "str", "bytearray", "strided", "of integers", "array"],
)
def test_to_string_may_return_text_and_buffers(body: Any, sent: bytes, token: str) -> None:
    harness = Harness(1)
    harness.client.set_token(token)
    assert sent_by(harness, Said(body)) == sent
    harness.assert_clean()


@pytest.mark.parametrize("token", ["", "t0ken"])
@pytest.mark.parametrize(
    "body",
    [None, 5, HUGE, [b"x"], 1.5, {"a": 1}, "\ud800", object(), np.array([object()]), np.ma.masked_array([1], [1])],
    ids=lambda body: type(body).__name__,
)
def test_a_to_string_of_a_wrong_type_is_a_body_error(body: Any, token: str) -> None:
    harness = Harness(2)
    harness.client.set_token(token)
    call = Result(harness.client.predict(Said(body)))
    assert isinstance(call.error, BodyError)
    assert len(str(call.error)) < 300
    assert harness.reactor.dials == []
    assert harness.client.counters.calls == 0
    assert harness.client.ejected == ()
    harness.assert_clean()


def test_a_listener_must_be_a_function() -> None:
    with pytest.raises(ConfigError, match="a listener must be a function"):
        twisted().listen(5)


def test_every_setting_is_used() -> None:
    """Each setting is read in a module of the client. A setting that no module reads would have no effect."""
    package = Path(eas_tw.__file__).parent
    trees = [ast.parse(path.read_text("utf-8")) for path in package.rglob("*.py") if path != package / "config.py"]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {setting.name for setting in attrs.fields(ClientConfig)} - read == set()
