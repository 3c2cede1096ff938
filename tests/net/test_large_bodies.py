"""Compression, decompression and hashing of large bodies in several reactor iterations; each call ends once."""

from __future__ import annotations

import gzip
import zlib
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError, succeed
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from eas_tw import BodyError, ClientClosed, ConfigError, DeadlineExceeded, StatusError
from eas_tw.agent import EasAgent
from eas_tw.body.hashes import LONG_BYTES, md5_hex, md5_hex_in_steps
from eas_tw.body.signature import Signer
from eas_tw.telemetry.events import CallEnded
from tests.net.calling import Harness, Result, response, says

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from eas_tw import PredictClient
    from tests.net.wire import Wire

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
    """If the body cannot be decompressed, the error has the body as it was received."""
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


# Settings with which a large request takes several reactor iterations, because it is compressed or hashed.
LONG_WORK: dict[str, dict[str, Any]] = {"compress": {"compress": "zlib"}, "hash": {}}


def signing(n: int = 1, **settings: Any) -> Harness:
    """Return a harness whose client has a token."""
    harness = Harness(n, **settings)
    harness.client.set_token("t0ken")
    return harness


def whole(wire: Wire) -> bytes:
    """Resume the producer until it has written the whole request, and return the request."""
    while wire.producer is not None:
        wire.producer.resumeProducing()
    return wire.take()


def sent_by(wire: Wire) -> tuple[dict[str, str], bytes]:
    """Return the header fields and the body of the request that is written to a connection."""
    head, _, body = whole(wire).partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return fields, body


@pytest.mark.parametrize("work", LONG_WORK)
def test_the_deadline_a_cancel_and_close_end_long_work(work: str) -> None:
    harness = signing(timeout_s=1.0, drain_timeout_s=0, **LONG_WORK[work])
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


@pytest.mark.parametrize("work", LONG_WORK)
def test_an_invalid_path_is_an_error_before_long_work(work: str) -> None:
    harness = signing(**LONG_WORK[work])
    call = Result(harness.client.predict(PLAIN, path="a b"))
    assert isinstance(call.error, ConfigError)
    assert harness.client.counters.calls == 0
    harness.assert_clean()


def test_close_waits_for_a_request_that_is_being_hashed() -> None:
    harness = signing()
    call = Result(harness.client.predict(PLAIN))
    closing = Result(harness.client.close())
    harness.reactor.pump([0] * 4)
    says(harness.accept(), response())
    assert str(call.value) == "ok"
    harness.reactor.advance(0)
    assert closing.fired


@implementer(IBodyProducer)
class Produced:
    """A body that is written to its consumer at once."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def stopProducing(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


SENDERS: dict[str, Callable[[PredictClient, Any], Deferred[Any]]] = {
    "predict": lambda client, body: client.predict(body),
    "request": lambda client, body: client.request("PUT", body=body),
    "stream": lambda client, body: client.stream(body).open(),
    "agent": lambda client, body: EasAgent(client).request(b"POST", b"eas://svc", None, Produced(body)),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_a_large_request_is_hashed_over_turns_and_then_sent_signed(sender: str) -> None:
    harness = signing()
    call = Result(SENDERS[sender](harness.client, PLAIN))
    assert harness.reactor.dials == []
    harness.reactor.pump([0] * 4)
    wire = harness.accept()
    fields, body = sent_by(wire)
    assert body == PLAIN
    method = "PUT" if sender == "request" else "POST"
    signer = Signer(b"t0ken", "/api/predict/svc", fields["Content-Type"], method)
    lines = signer.lines(PLAIN, parsedate_to_datetime(fields["Date"]).timestamp())
    for name in ("Content-MD5", "Date", "Authorization"):
        assert f"{name}: {fields[name]}\r\n".encode() in lines
    says(wire, response())
    assert call.fired
    assert not isinstance(call.value, Failure)
    harness.assert_clean()


@pytest.mark.parametrize(
    ("size", "token", "settings"),
    [(LONG_BYTES - 1, "t0ken", {}), (2 * LONG_BYTES, "", {}), (2 * LONG_BYTES, "t0ken", {"auth": "token"})],
    ids=["smaller", "no token", "not signed"],
)
def test_a_request_without_a_long_hash_is_sent_at_once(size: int, token: str, settings: dict[str, Any]) -> None:
    harness = Harness(1, **settings)
    harness.client.set_token(token)
    call = Result(harness.client.predict(bytes(size)))
    wire = harness.accept()
    fields, body = sent_by(wire)
    assert len(body) == size
    assert ("Content-MD5" in fields) is (token != "" and not settings)
    says(wire, response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_the_hash_is_that_of_the_compressed_body() -> None:
    harness = signing(compress="zlib", attempts=1)
    call = Result(harness.client.predict(PLAIN))
    harness.reactor.pump([0] * 6)
    wire = harness.accept()
    fields, body = sent_by(wire)
    assert zlib.decompress(body) == PLAIN
    assert fields["Content-MD5"] == md5_hex(body)
    says(wire, response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_a_retry_sends_the_same_bytes_and_hashes_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counting(data: bytes) -> Any:
        hashed.append(len(data))
        return md5_hex_in_steps(data)

    monkeypatch.setattr("eas_tw.client.md5_hex_in_steps", counting)
    harness = signing(2)
    call = Result(harness.client.predict(PLAIN))
    harness.reactor.pump([0] * 4)
    first = harness.accept()
    assert sent_by(first)[1] == PLAIN
    says(first, response(503))
    harness.reactor.advance(1.0)
    second = harness.accept()
    assert sent_by(second)[1] == PLAIN
    says(second, response())
    assert str(call.value) == "ok"
    assert hashed == [len(PLAIN)]
    harness.assert_clean()


@pytest.mark.parametrize("kind", [bytearray, lambda content: memoryview(bytearray(content))], ids=["array", "view"])
def test_a_program_may_change_its_arguments_while_they_are_hashed(kind: Any) -> None:
    harness = signing()
    content, headers, query = kind(PLAIN), {"X-Id": "1"}, {"id": "1"}
    call = Result(harness.client.predict(content, headers=headers, query=query))
    content[:1000] = bytes(1000)
    headers["X-Id"] = query["id"] = "2"
    harness.reactor.pump([0] * 4)
    wire = harness.accept()
    wrote = whole(wire)
    assert wrote.startswith(b"POST /api/predict/svc?id=1 ")
    assert b"\r\nX-Id: 1\r\n" in wrote
    assert wrote.endswith(b"\r\n\r\n" + PLAIN)
    says(wire, response())
    assert str(call.value) == "ok"
    harness.assert_clean()


def test_a_function_is_asked_once_for_the_token_of_a_large_request() -> None:
    harness = Harness(1)
    tokens = iter(["first", "second"])
    harness.client.set_token(lambda: next(tokens))
    call = Result(harness.client.predict(PLAIN))
    harness.reactor.pump([0] * 4)
    wire = harness.accept()
    assert "Content-MD5" in sent_by(wire)[0]
    says(wire, response())
    assert str(call.value) == "ok"
    assert next(tokens) == "second"
    harness.assert_clean()
