"""The gateway: forwards requests on new connections to registered instances by weight; sends 502, 503 and 504."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone

from simulator.advertising import loopback
from simulator.http1 import Response

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from twisted.internet.interfaces import ITCPTransport
    from twisted.python.failure import Failure

    from simulator.http1 import Answer, ReceivedRequest
    from simulator.instance import SimulatedInstance

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 60.0
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

    The service's `gateway` setting says what happens when an instance refuses the connection.
    """
    able = [
        instance
        for instance in instances
        if instance.weight > 0 and (instance.service.gateway != "avoid" or instance.address.is_listening)
    ]
    if not able:
        return _own(503, "no instance is available")
    trip = _Trip(reactor, request, able, rng)
    timer = reactor.callLater(timeout_s, trip.end, _own(504, "the instance did not answer in time"))
    answer = trip.answer
    trip.start()

    def done(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        trip.disconnect()
        return result

    return answer.addBoth(done)


def _own(status: int, text: str) -> Response:
    return Response(status, f"{text}\n".encode(), "text/plain")


class _Trip(ClientFactory):
    """The forwarding of one request.

    Args:
        reactor: Reactor that opens the connections.
        request: Request to forward.
        instances: Instances to choose from; at least one.
        rng: Random source of the choice.
    """

    noisy = False

    def __init__(self, reactor: Any, request: ReceivedRequest, instances: list[SimulatedInstance], rng: Random) -> None:
        self.request = request
        self.answer: Deferred[Answer] = Deferred()
        self._reactor = reactor
        self._untried = instances
        self._rng = rng
        self._tried: SimulatedInstance
        self._connector: Any

    def start(self) -> None:
        """Connect to one of the instances that have not been tried, chosen by weight."""
        (self._tried,) = self._rng.choices(self._untried, [instance.weight for instance in self._untried])
        self._untried = [instance for instance in self._untried if instance is not self._tried]
        ip, port = loopback(self._tried.ip), self._tried.port
        self._connector = self._reactor.connectTCP(ip, port, self, timeout=CONNECT_TIMEOUT_S)

    def disconnect(self) -> None:
        """Close the connection to the instance."""
        self._connector.disconnect()

    def buildProtocol(self, addr: Any) -> Protocol:  # noqa: ARG002
        """Build the protocol of a connection (`IProtocolFactory`)."""
        return _Messenger(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:  # noqa: ARG002
        """Try another instance, if the mode allows it: the request has not been sent, so this is safe."""
        if self._untried and self._tried.service.gateway == "retry" and not self.answer.called:
            self.start()
        else:
            self.end(_own(502, "the instance could not be reached"))

    def end(self, answer: Answer) -> None:
        """Fire with the response; later calls are ignored."""
        if not self.answer.called:
            self.answer.callback(answer)


class _Messenger(Protocol):
    """Sends the request to the instance and receives the response."""

    transport: ITCPTransport

    def __init__(self, trip: _Trip) -> None:
        self._trip = trip
        self._parser = HttpResponseParser(self)
        self._begin()

    def connectionMade(self) -> None:
        """Send the request (`IProtocol`)."""
        request = self._trip.request
        named = {name.strip().lower() for name in request.headers.get("connection", "").split(",")}
        lines = [f"{request.method} {request.target} HTTP/1.1", "Host: gateway", "Connection: close"]
        lines += [
            f"{name}: {value}"
            for name, value in request.headers.items()
            if name not in _NOT_FORWARDED and name not in named
        ]
        lines += [f"content-length: {len(request.body)}", "", ""]
        self.transport.write("\r\n".join(lines).encode("latin-1") + request.body)

    def dataReceived(self, data: bytes) -> None:
        """Feed bytes of the response to the parser (`IProtocol`)."""
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._trip.end(_own(502, "the instance did not answer in HTTP"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """End the forwarding, because the instance has closed the connection (`IProtocol`)."""
        self._trip.end(_own(502, "the instance hung up"))

    def on_message_begin(self) -> None:
        """Begin a response, perhaps after an interim one (httptools)."""
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header field (httptools)."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Handle the end of the head, with which a response to HEAD ends, whatever its Content-Length (httptools)."""
        if self._trip.request.method == "HEAD" and self._parser.get_status_code() >= _OK:
            self._end()

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body (httptools)."""
        self._body += body

    def on_message_complete(self) -> None:
        """Pass the complete response on (httptools)."""
        status = self._parser.get_status_code()
        if status >= _OK or status == _SWITCHING_PROTOCOLS:
            self._end()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        # One growing buffer, because the pieces may be of one byte each.
        self._body = bytearray()

    def _end(self) -> None:
        kept = {name: value for name, value in self._headers.items() if name not in _NOT_RETURNED}
        media = self._headers.get("content-type", "")
        self._trip.end(Response(self._parser.get_status_code(), bytes(self._body), media, kept))
