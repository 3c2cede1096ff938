"""Services as URLs: `eas://service/path?query` through Twisted's `IAgent`, so that `treq` speaks to a fleet.

    http = treq.client.HTTPClient(EasAgent(client))
    response = await http.post("eas://mnist/v2", json={"rows": [1, 2]})

Balancing, failover, deadline and signature are the client's. What the fleet answers, 200 or not, is a response, as with
every agent; what leaves no answer is the client's typed error.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import field, frozen
from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IClientRequest, IResponse
from zope.interface import implementer

from eas_tw import ConfigError, PredictClient
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IAddress, IProducer, IProtocol
    from twisted.web.iweb import IBodyProducer

    from eas_tw import Stream

_NOT_FORWARDED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@implementer(IAgent)
class EasAgent(ProcessBound):
    """An agent for `eas://` URLs.

    Args:
        clients: One for each service; ready, or made ready before the first request.

    Raises:
        ConfigError: Two clients have the same service, or one has none.
    """

    def __init__(self, *clients: PredictClient) -> None:
        self._clients: dict[str, PredictClient] = {}
        for client in clients:
            name = client.service_name
            if not name or _host(name) in self._clients:
                raise ConfigError(f"each client of an EasAgent needs a service of its own, got {name!r} twice or empty")
            self._clients[_host(name)] = client

    def __repr__(self) -> str:
        return f"<EasAgent {', '.join(self._clients)}>"

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Send a request to a service (`IAgent`).

        Args:
            method: Such as `POST` or `GET`; not `CONNECT`.
            uri: `eas://service`, `eas://service/path` or `eas://group/service/path`, with a query if need be. An
                underscore may be written as a hyphen, which some URL libraries insist on.
            headers: Of this request; Host and the like are the client's to say.
            bodyProducer: The body; read whole, since the signature covers it and a failover sends it again.

        Returns:
            Fires with the response once its head is there, whatever its status; the body is delivered as it comes.
            Fails as `PredictClient.predict` does, with `ConfigError` for a URL or method that is not one. Cancelling it
            cancels the call.
        """
        try:
            route = self._route(uri)
            fields = _fields(headers or Headers())
        except ConfigError:
            return fail()
        asked = _Asked(method, uri, headers or Headers())
        return Deferred.fromCoroutine(_exchange(route, fields, bodyProducer, asked))

    def _route(self, uri: bytes) -> _Route:
        shown = uri.decode("ascii", "backslashreplace")
        try:
            parts = urlsplit(shown)
        except ValueError as error:
            raise ConfigError(f"an EasAgent takes eas://service/path, got {shown!r}: {error}") from None
        if parts.scheme != "eas":
            raise ConfigError(f"an EasAgent takes eas://service/path, got {shown!r}")
        whole = parts.netloc + parts.path
        # The longest name first: `group/service` goes before a service called `group`.
        for name in sorted(self._clients, key=len, reverse=True):
            rest = whole[len(name) :]
            if _host(whole[: len(name)]) == name and (not rest or rest.startswith("/")):
                return _Route(self._clients[name], rest if rest != "/" else "", parts.query)
        raise ConfigError(f"no client for {shown!r}; there is {', '.join(self._clients)}")


@frozen
class _Route:
    """Which client, and what below its service."""

    client: PredictClient
    path: str
    query: str


@implementer(IClientRequest)
@frozen
class _Asked:
    """The request a response belongs to (`IClientRequest`)."""

    method: bytes
    absoluteURI: bytes  # noqa: N815
    headers: Headers


@implementer(IResponse)
class _Response:
    """A response whose body is read while it arrives (`IResponse`)."""

    version = (b"HTTP", 1, 1)

    def __init__(self, asked: _Asked, stream: Stream) -> None:
        self.request = asked
        self.code = stream.status
        self.phrase = _phrase(stream.status)
        self.headers = Headers({name: [value] for name, value in stream.headers.items()})
        length = stream.headers.get("content-length", "")
        self.length = int(length) if length.isascii() and length.isdigit() else UNKNOWN_LENGTH
        self.previousResponse: IResponse | None = None
        self._stream = stream

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the body to a protocol, piece by piece (`IResponse`)."""
        _Delivery(self._stream, protocol).begin()

    def setPreviousResponse(self, response: IResponse) -> None:
        """Remember the response before a redirect (`IResponse`)."""
        self.previousResponse = response


@implementer(ITransport, IPushProducer)
class _Delivery:
    """The transport of a body: reads the stream as fast as its protocol lets it."""

    disconnecting = False

    def __init__(self, stream: Stream, protocol: IProtocol) -> None:
        self._stream = stream
        self._protocol: IProtocol | None = protocol
        self._is_paused = False
        self._is_reading = False

    def begin(self) -> None:
        """Connect the protocol and read the first piece."""
        protocol = self._protocol
        if protocol is not None:
            protocol.makeConnection(self)
            self._read()

    def pauseProducing(self) -> None:
        """Read no more for a while (`IPushProducer`)."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on reading (`IPushProducer`)."""
        self._is_paused = False
        self._read()

    def stopProducing(self) -> None:
        """Close the connection (`IProducer`)."""
        self.loseConnection()

    def loseConnection(self) -> None:
        """Close the connection (`ITransport`)."""
        self._stream.close()

    def abortConnection(self) -> None:
        """Close the connection, as Twisted's own transports of bodies can."""
        self._stream.close()

    def write(self, data: bytes) -> None:
        """Ignore bytes: nothing is sent with a response (`ITransport`)."""

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802  the interface's name
        """Ignore bytes (`ITransport`)."""

    def getPeer(self) -> IAddress:  # noqa: N802
        """Return no address: which instance answered is the client's business (`ITransport`)."""
        return HostnameAddress(b"", 0)

    def getHost(self) -> IAddress:  # noqa: N802
        """Return no address (`ITransport`)."""
        return HostnameAddress(b"", 0)

    def _read(self) -> None:
        # One read at a time, and a loop instead of a recursion: many pieces may be there already.
        while not self._is_reading and not self._is_paused and self._protocol is not None:
            self._is_reading = True
            self._stream.next_piece().addCallbacks(self._took, self._broke)

    def _took(self, piece: bytes) -> None:
        self._is_reading = False
        protocol = self._protocol
        if protocol is None:
            return
        if piece:
            protocol.dataReceived(piece)
            self._read()
        else:
            self._end(Failure(ResponseDone()))

    def _broke(self, failure: Failure) -> None:
        self._is_reading = False
        self._end(Failure(ResponseFailed([failure])))

    def _end(self, reason: Failure) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)


@implementer(IConsumer)
@frozen
class _Collected:
    """What a body producer writes (`IConsumer`)."""

    parts: list[bytes] = field(factory=list)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # noqa: FBT001  the interface's
        """Nobody has to be slowed down (`IConsumer`)."""

    def unregisterProducer(self) -> None:
        """Nobody was slowed down (`IConsumer`)."""

    def write(self, data: bytes) -> None:
        """A piece more (`IConsumer`)."""
        self.parts.append(data)


async def _exchange(route: _Route, fields: dict[str, str], producer: IBodyProducer | None, asked: _Asked) -> _Response:
    body = b"" if producer is None else await _collect(producer)
    opening = route.client.stream(
        body,
        method=asked.method.decode("ascii", "replace"),
        path=route.path,
        query=route.query or None,
        headers=fields,
        any_status=True,
    )
    return _Response(asked, await opening.open())


async def _collect(producer: IBodyProducer) -> bytes:
    collected = _Collected()
    try:
        await producer.startProducing(collected)
    except BaseException:
        producer.stopProducing()
        raise
    return b"".join(collected.parts)


def _fields(headers: Headers) -> dict[str, str]:
    """Header fields as the client takes them; repeated ones joined (RFC 9110 §5.3)."""
    return {
        name.decode("latin-1"): ", ".join(value.decode("latin-1") for value in values)
        for name, values in headers.getAllRawHeaders()
        if name.decode("latin-1").lower() not in _NOT_FORWARDED
    }


def _host(name: str) -> str:
    """A service as the host of a URL: hosts have no case and no underscore, as the vendor's own `app` names."""
    return name.lower().replace("_", "-")


def _phrase(code: int) -> bytes:
    try:
        return HTTPStatus(code).phrase.encode("ascii")
    except ValueError:
        return b"EAS"
