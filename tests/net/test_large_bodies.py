"""Compression and decompression of large bodies in several reactor iterations; each call ends once."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from eas_tw import BodyError, ClientClosed, ConfigError, DeadlineExceeded, StatusError
from eas_tw.telemetry.events import CallEnded
from tests.net.calling import Harness, Result, response, says

SIZE = 6 << 20
PACKED = gzip.compress(bytes(SIZE))
GZIP = b"Content-Encoding: gzip"


def answered(**settings: Any) -> tuple[Harness, Result]:
    """Return a call whose response has arrived, and is not decompressed yet."""
    harness = Harness(1, **settings)
    call = harness.call()
    says(harness.accept(), response(200, PACKED, GZIP))
    assert not call.fired
    return harness, call


def pump(harness: Harness, call: Result) -> None:
    for _ in range(20):
        if not call.fired:
            harness.reactor.advance(0)


def test_a_large_response_is_decompressed_in_several_reactor_iterations() -> None:
    harness, call = answered()
    second = harness.call()
    says(harness.busy, response())
    assert str(second.value) == "ok"
    pump(harness, call)
    assert call.value.content == bytes(SIZE)
    counters = harness.client.counters
    assert (counters.calls, counters.answered, dict(counters.failed)) == (2, 2, {})
    harness.assert_clean()


def test_small_and_uncompressed_responses_are_available_immediately() -> None:
    harness = Harness(1)
    for body, headers in ((b"plain", ()), (gzip.compress(b"plain"), (GZIP,)), (b"", (GZIP,))):
        call = harness.call()
        wire = harness.accept() if harness.reactor.dials else harness.busy
        says(wire, response(200, body, *headers))
        assert call.value.content in {b"plain", b""}
    harness.assert_clean()


def test_a_call_ends_by_its_deadline_during_decompression() -> None:
    """The instance has responded in time, so no failure is recorded for it."""
    harness, call = answered(timeout_s=1.0)
    ended: list[Any] = []
    harness.client.listen(ended.append)
    harness.reactor.advance(1.0)
    assert isinstance(call.error, DeadlineExceeded)
    assert "while the response was being decompressed" in str(call.error)
    assert harness.client.counters.failed == {"DeadlineExceeded": 1}
    (event,) = [event for event in ended if isinstance(event, CallEnded)]
    assert event.instance == harness.client.instances[0]
    assert harness.client.ejected == ()
    harness.assert_clean()


def test_a_cancelled_call_stops_decompression() -> None:
    harness, call = answered()
    call.deferred.cancel()
    assert isinstance(call.error, CancelledError)
    harness.assert_clean()
    assert harness.client.counters.failed == {"CancelledError": 1}


def test_close_waits_for_a_body_that_is_being_decompressed() -> None:
    harness, call = answered()
    closing = Result(harness.client.close())
    assert not closing.fired
    pump(harness, call)
    assert len(call.value.content) == SIZE
    harness.reactor.advance(0)
    assert closing.fired


def test_close_ends_a_decompression_that_takes_too_long() -> None:
    harness, call = answered(drain_timeout_s=0)
    closing = Result(harness.client.close())
    assert isinstance(call.error, ClientClosed)
    assert closing.fired
    harness.assert_clean()


def test_a_large_response_has_the_same_limit_and_errors() -> None:
    """`max_response_bytes` is exceeded only after several reactor iterations."""
    harness, call = answered(max_response_bytes=SIZE - 1)
    pump(harness, call)
    assert isinstance(call.error, BodyError)
    assert f"larger than {SIZE - 1} bytes" in str(call.error)
    assert harness.client.counters.failed == {"BodyError": 1}
    harness.assert_clean()


class Broken:
    """A request whose `parse_response` raises."""

    def to_string(self) -> bytes:
        return b"x"

    def parse_response(self, content: bytes) -> Any:
        raise LookupError(len(content))


def test_a_parser_that_raises_after_decompressing_ends_the_call_once() -> None:
    harness = Harness(1)
    call = Result(harness.client.predict(Broken()))
    says(harness.accept(), response(200, PACKED, GZIP))
    pump(harness, call)
    assert call.error.args == (SIZE,)
    harness.assert_clean()


ERROR = b"feature dim is 3, the model wants 5"


@pytest.mark.parametrize(
    ("body", "headers", "settings", "shown"),
    [
        (gzip.compress(ERROR), (GZIP,), {}, ERROR),
        (zlib.compress(ERROR), (b"Content-Encoding: deflate",), {}, ERROR),
        (zlib.compress(ERROR), (), {"decompress": "zlib"}, ERROR),
        (ERROR, (), {"decompress": "zlib"}, ERROR),
        (ERROR, (GZIP,), {}, ERROR),
        (ERROR, (b"Content-Encoding: br",), {}, ERROR),
        (PACKED, (GZIP,), {}, PACKED),
    ],
    ids=["gzip", "deflate", "configured", "not as configured", "not as it says", "unknown", "too large"],
)
def test_the_body_of_an_error_is_decompressed(
    body: bytes, headers: tuple[bytes, ...], settings: dict[str, Any], shown: bytes
) -> None:
    """If the body cannot be decompressed, the error has it as received."""
    harness = Harness(1, **settings)
    call = harness.call()
    says(harness.accept(), response(400, body, *headers))
    assert isinstance(call.error, StatusError)
    assert call.error.body == shown
    if shown is ERROR:
        assert ERROR.decode() in str(call.error)
    harness.assert_clean()


class Proxied(Broken):
    """A request that gets the body of its response without decompression."""

    def parse_answer(self, headers: dict[str, str], content: bytes) -> bytes:
        return content


def test_a_proxy_gets_bodies_without_decompression() -> None:
    harness = Harness(1)
    call = Result(harness.client.predict(Proxied()))
    says(harness.accept(), response(200, PACKED, GZIP))
    assert call.value == PACKED
    call = Result(harness.client.predict(Proxied()))
    says(harness.busy, response(400, gzip.compress(ERROR), GZIP))
    assert call.error.body == gzip.compress(ERROR)
    harness.assert_clean()


PLAIN = bytes(range(256)) * 8192


def test_a_large_request_is_compressed_in_several_reactor_iterations() -> None:
    harness = Harness(1, compress="zlib", attempts=1)
    call = Result(harness.client.predict(PLAIN))
    assert harness.client.counters.calls == 1
    assert harness.reactor.dials == []
    harness.reactor.pump([0] * 4)
    wire = harness.accept()
    assert zlib.decompress(wire.take().partition(b"\r\n\r\n")[2]) == PLAIN
    says(wire, response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_the_deadline_a_cancel_and_close_end_a_compression() -> None:
    harness = Harness(1, compress="zlib", timeout_s=1.0, drain_timeout_s=0)
    late, cancelled, closed = (Result(harness.client.predict(PLAIN, timeout_s=s)) for s in (0.5, 1, 1))
    cancelled.deferred.cancel()
    harness.reactor.advance(0.5)
    assert isinstance(late.error, DeadlineExceeded)
    assert "before it was sent" in str(late.error)
    assert isinstance(cancelled.error, CancelledError)
    assert Result(harness.client.close()).fired
    assert isinstance(closed.error, ClientClosed)
    assert harness.reactor.dials == harness.reactor.wires == []
    harness.assert_clean()


def test_an_invalid_path_is_an_error_before_compression() -> None:
    harness = Harness(1, compress="zlib")
    call = Result(harness.client.predict(PLAIN, path="a b"))
    assert isinstance(call.error, ConfigError)
    assert harness.client.counters.calls == 0
    harness.assert_clean()
