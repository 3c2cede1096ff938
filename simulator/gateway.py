"""The gateway: forwards each request on a new connection to a registered instance, which is chosen by weight.

If forwarding fails, the gateway answers 502, 503 or 504.

A response is forwarded while it arrives, and read no faster than the client reads it. A response whose body arrives
together with its head is sent as a whole. After the head no error status can be sent: if the instance then closes the
connection, or sends nothing until the timeout, the gateway closes the client's connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone

from simulator.advertising import loopback
from simulator.http1 import Response
from simulator.messages import BODYLESS
from simulator.streaming import StreamResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from random import Random

    from twisted.internet.interfaces import ITCPTransport
    from twisted.python.failure import Failure

    from simulator.http1 import Answer, ReceivedRequest
    from simulator.instance import SimulatedInstance

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 60.0
"""Seconds that the gateway waits for the head, and between two pieces of the body."""
MAX_UNREAD_BYTES = 64 * 2**10
"""Limit on the bytes of a body that the client has not read; above it, reading from the instance is paused."""
_ONE_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)
"""Header fields that concern one connection and are not forwarded (RFC 9110 §7.6.1)."""
_NOT_FORWARDED = _ONE_CONNECTION | {"host", "content-length", "expect"}
_NOT_RETURNED = _ONE_CONNECTION | {"content-length", "content-type"}
_OK = 200
_SWITCHING_PROTOCOLS = 101


def forward(
    reactor: Any,
    request: ReceivedRequest,
    instances: Sequence[SimulatedInstance],
    rng: Random,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> Answer | Deferred[Answer]:
    """Return the response of one of `instances`, or the gateway's own error.

    The service's `gateway` mode determines what happens when an instance refuses the connection (`GATEWAY_MODES`).

    Args:
        reactor: Reactor that opens the connections.
        request: Request to forward.
        instances: Registered instances to choose from; may be empty.
        rng: Random source of the choice.
        timeout_s: Seconds to wait for the head, and between two pieces of the body.
    """
    able = [
        instance
        for instance in instances
        if instance.weight > 0 and (instance.service.gateway != "avoid" or instance.address.is_listening)
    ]
    if not able:
        return _own(503, "no instance is available")
    trip = _Trip(reactor, request, able, rng, timeout_s)
    trip.start()
    return trip.answer


def _own(status: int, text: str) -> Response:
    return Response(status, f"{text}\n".encode(), "text/plain")


class _Trip(ClientFactory):
    """The forwarding of one request.

    Args:
        reactor: Reactor that opens the connections.
        request: Request to forward.
        instances: Instances to choose from; at least one.
        rng: Random source of the choice.
        timeout_s: Seconds to wait for the head, and between two pieces of the body.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        request: ReceivedRequest,
        instances: list[SimulatedInstance],
        rng: Random,
        timeout_s: float,
    ) -> None:
        self.request = request
        self.answer: Deferred[Answer] = Deferred(lambda _: self.leave())
        self._timer: Any = None
        self._timeout_s = timeout_s
        self._reactor = reactor
        self._untried = instances
        self._rng = rng
        self._tried: SimulatedInstance
        self._connector: Any

    def start(self) -> None:
        """Start the timeout, and connect to an instance."""
        self.wait()
        self._connect()

    def wait(self) -> None:
        """Restart the timeout."""
        self.stop_waiting()
        self._timer = self._reactor.callLater(self._timeout_s, self._late)

    def stop_waiting(self) -> None:
        """Cancel the timeout."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def leave(self) -> None:
        """Close the connection to the instance, because the rest of the response is not needed."""
        self.stop_waiting()
        self._connector.disconnect()

    def _late(self) -> None:
        self._timer = None
        self.end(_own(504, "the instance did not answer in time"))
        self._connector.disconnect()

    def _connect(self) -> None:
        """Connect to one of the instances that have not been tried, chosen by weight."""
        (self._tried,) = self._rng.choices(self._untried, [instance.weight for instance in self._untried])
        self._untried = [instance for instance in self._untried if instance is not self._tried]
        ip, port = loopback(self._tried.ip), self._tried.port
        self._connector = self._reactor.connectTCP(ip, port, self, timeout=CONNECT_TIMEOUT_S)

    def buildProtocol(self, addr: Any) -> Protocol:  # noqa: ARG002
        """Build the protocol of a connection (`IProtocolFactory`)."""
        return _Messenger(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:  # noqa: ARG002
        """Connect to another instance in the mode `retry`, otherwise answer 502.

        The request has not been sent yet, so no instance gets it twice.
        """
        if self._untried and self._tried.service.gateway == "retry" and not self.answer.called:
            self._connect()
        else:
            self.end(_own(502, "the instance could not be reached"))

    def end(self, answer: Response) -> None:
        """Send a complete response and close the connection to the instance, unless a response has begun."""
        if not self.answer.called:
            self.stop_waiting()
            self.answer.callback(answer)
            self._connector.disconnect()

    def stream(self, answer: StreamResponse) -> None:
        """Send the head of a response whose body has not arrived yet."""
        self.answer.callback(answer)


class _Body:
    """The body of a response while it arrives from an instance: an asynchronous iterator of its pieces."""

    def __init__(self, trip: _Trip, transport: Any) -> None:
        self._trip = trip
        self._transport = transport
        self._unread = bytearray()
        self._reader: Deferred[None] | None = None
        self._is_paused = False
        self._has_ended = False
        self._error = ""

    def put(self, data: bytes) -> None:
        """Append a piece."""
        self._unread += data
        self._trip.wait()
        if len(self._unread) > MAX_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pauseProducing()
            # The client reads too slowly, so the instance's timeout must not run.
            self._trip.stop_waiting()
        self._wake()

    def end(self, error: str = "") -> None:
        """End the body. With an error text the body is incomplete, and the client's connection is closed."""
        if not self._has_ended:
            self._has_ended = True
            self._error = error
            self._trip.stop_waiting()
            self._wake()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._unread and not self._has_ended:
            self._reader = Deferred()
            await self._reader
        if self._unread:
            data = bytes(self._unread)
            self._unread.clear()
            if self._is_paused:
                self._is_paused = False
                self._transport.resumeProducing()
                self._trip.wait()
            return data
        if self._error:
            raise ConnectionError(self._error)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the connection to the instance, because the client has disconnected or has received the whole body."""
        self._has_ended = True
        self._trip.leave()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.called:
            reader.callback(None)


class _Messenger(Protocol):
    """Sends the request to the instance and receives the response."""

    transport: ITCPTransport

    def __init__(self, trip: _Trip) -> None:
        self._trip = trip
        self._parser = HttpResponseParser(self)
        self._stream: _Body | None = None
        self._offers_websocket = "upgrade" in trip.request.headers  # `RequestReader` removes all other offers
        self._is_websocket = False
        self._begin()

    def connectionMade(self) -> None:
        """Send the request (`IProtocol`)."""
        request = self._trip.request
        named = {name.strip().lower() for name in request.headers.get("connection", "").split(",")}
        connection = ["Connection: Upgrade", "Upgrade: websocket"] if self._offers_websocket else ["Connection: close"]
        lines = [f"{request.method} {request.target} HTTP/1.1", "Host: gateway", *connection]
        lines += [
            f"{name}: {value}"
            for name, value in request.headers.items()
            if name not in _NOT_FORWARDED and name not in named
        ]
        lines += [*([] if self._offers_websocket else [f"content-length: {len(request.body)}"]), "", ""]
        self.transport.write("\r\n".join(lines).encode("latin-1") + request.body)

    def dataReceived(self, data: bytes) -> None:
        """Feed bytes of the response to the parser, or forward bytes of a WebSocket (`IProtocol`)."""
        if self._is_websocket and self._stream is not None:
            self._stream.put(data)
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if self._offers_websocket:
                self._begin_websocket(data[upgrade.args[0] :])
            else:
                self._break("the instance did not answer in HTTP")
            return
        except HttpParserError:
            self._break("the instance did not answer in HTTP")
            return
        # A body that arrived together with its head is sent as a whole. Any other body is streamed.
        if self._has_head and self._stream is None and not self._trip.answer.called:
            self._begin_stream()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Handle the loss of the connection to the instance (`IProtocol`)."""
        is_end = self._stream is not None and self._is_ended_by_close and reason.check(ConnectionDone) is not None
        if is_end and self._stream is not None:
            self._stream.end()
        else:
            self._break("the instance closed the connection before the end of the response")

    def _break(self, why: str) -> None:
        if self._stream is not None:
            self._stream.end(why)
        else:
            self._trip.end(_own(502, why))

    def _begin_stream(self) -> None:
        length = self._headers.get("content-length", "")
        has_chunks = "transfer-encoding" in self._headers
        self._is_ended_by_close = not (length or has_chunks)
        body = self._stream = _Body(self._trip, self.transport)
        media, kept = self._returned()
        status = self._parser.get_status_code()
        size = int(length) if length.isdigit() and not has_chunks else None
        self._trip.stream(StreamResponse(body, status, media, kept, length=size))
        if self._body:
            body.put(bytes(self._body))
            self._body.clear()

    def _begin_websocket(self, data: bytes) -> None:
        """Forward bytes in both directions, because the instance has accepted the WebSocket."""
        self._is_websocket = self._is_ended_by_close = True
        body = self._stream = _Body(self._trip, self.transport)
        _, kept = self._returned()
        self._trip.stream(StreamResponse(body, _SWITCHING_PROTOCOLS, "", kept, receive=self.transport.write))
        if data:
            body.put(data)

    def on_message_begin(self) -> None:
        """Reset the state for a new response; an interim response may have preceded it (httptools)."""
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header field (httptools)."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Handle the end of the head (httptools).

        RFC 9112 §6.3: a response to HEAD has no body, regardless of its Content-Length.
        """
        status = self._parser.get_status_code()
        if status < _OK:
            return
        if self._trip.request.method == "HEAD" or status in BODYLESS:
            self._end()
        else:
            self._has_head = True

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body (httptools)."""
        if self._stream is not None:
            self._stream.put(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Forward the complete response (httptools)."""
        status = self._parser.get_status_code()
        if self._stream is not None:
            self._stream.end()
        elif status >= _OK or (status == _SWITCHING_PROTOCOLS and not self._offers_websocket):
            self._end()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        # One growing buffer instead of a list, because each piece may be a single byte.
        self._body = bytearray()
        self._has_head = self._is_ended_by_close = False

    def _returned(self) -> tuple[str, dict[str, str]]:
        kept = {name: value for name, value in self._headers.items() if name not in _NOT_RETURNED}
        return self._headers.get("content-type", ""), kept

    def _end(self) -> None:
        media, kept = self._returned()
        self._trip.end(Response(self._parser.get_status_code(), bytes(self._body), media, kept))
