"""A Twisted `IAgent` for URLs such as `eas://service/path?query`, so that `treq` can call PAI-EAS services.

    http = treq.client.HTTPClient(EasAgent(client))
    response = await http.post("eas://mnist/v2", json={"rows": [1, 2]})

The `PredictClient` does balancing, failover, deadlines and signatures. As `IAgent` requires, a response of any status
is returned as a response. A call without a response fails with the client's error, such as `DeadlineExceeded`.
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
from eas_tw.keys import KEY_HEADER
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IAddress, IProducer, IProtocol
    from twisted.web.iweb import IBodyProducer

    from eas_tw import Stream

_NOT_FORWARDED = frozenset({"host", "content-length", "transfer-encoding", "connection", KEY_HEADER})


@implementer(IAgent)
class EasAgent(ProcessBound):
    """An agent for `eas://` URLs.

    Args:
        clients: One client for each service. Call `init` on each before the first request to its service.

    Raises:
        ConfigError: Two clients have the same service name, or a client has no service name.
    """

    def __init__(self, *clients: PredictClient) -> None:
        self._clients: dict[str, PredictClient] = {}
        for client in clients:
            name = client.service_name
            if not name or _host(name) in self._clients:
                raise ConfigError(f"each client of an EasAgent needs a different service name, got {name!r}")
            self._clients[_host(name)] = client

    def __repr__(self) -> str:
        return f"<EasAgent {', '.join(self._clients)}>"

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Send a request to a service (`IAgent`).

        Args:
            method: The HTTP method, such as `POST` or `GET`; `CONNECT` is not allowed.
            uri: `eas://service`, `eas://service/path` or `eas://group/service/path`, with an optional query. In the
                service's name, a hyphen may replace an underscore, because some URL libraries reject underscores.
            headers: The request's header fields; `None` for no fields. `Host`, `Content-Length`, `Transfer-Encoding`
                and `Connection` are ignored, because the client sets them. `X-Eas-Key` is the call's key for the
                balancer, and is not sent.
            bodyProducer: The body; `None` for an empty body. The body is read into memory completely, because the
                signature covers it and a failover sends it again.

        Returns:
            A Deferred. Cancelling it cancels the call. It

            1. fires with the response, which may have any status, when its head has arrived; `deliverBody` delivers the
               body while it arrives;
            2. fails with `ConfigError` if `uri`, `method` or a header is not valid, or the service has no client;
            3. fails with the failure of `bodyProducer`;
            4. fails with the errors of `PredictClient.predict`, except `StatusError`.
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
        # The longest name first, so that `group/service` is matched before a service that is named `group`.
        for name in sorted(self._clients, key=len, reverse=True):
            rest = whole[len(name) :]
            if _host(whole[: len(name)]) == name and (not rest or rest.startswith("/")):
                return _Route(self._clients[name], rest if rest != "/" else "", parts.query)
        raise ConfigError(f"no client for {shown!r}; there are clients for {', '.join(self._clients)}")


@frozen
class _Route:
    """The client for a URL, the path relative to the service, and the query without `?`."""

    client: PredictClient
    path: str
    query: str


@implementer(IClientRequest)
@frozen
class _Asked:
    """The request to which a response belongs, for the attribute `IResponse.request` (`IClientRequest`)."""

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
        self.headers = Headers()
        for name, value in stream.raw_headers:  # repeated fields stay separate: Set-Cookie cannot be joined
            self.headers.addRawHeader(name, value)
        length = stream.headers.get("content-length", "")
        self.length = int(length) if length.isascii() and length.isdigit() else UNKNOWN_LENGTH
        self.previousResponse: IResponse | None = None
        self._stream = stream

    def deliverBody(self, protocol: IProtocol) -> None:
        """Pass the body to a protocol while it arrives (`IResponse`)."""
        _Delivery(self._stream, protocol).begin()

    def setPreviousResponse(self, response: IResponse) -> None:
        """Store the response that preceded a redirect (`IResponse`)."""
        self.previousResponse = response


@implementer(ITransport, IPushProducer)
class _Delivery:
    """The transport of the protocol that receives a body; it reads the stream, with backpressure (`IPushProducer`)."""

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
            self._is_reading = True  # the protocol gets nothing before `makeConnection` has returned
            protocol.makeConnection(self)
            self._is_reading = False
            self._read()

    def pauseProducing(self) -> None:
        """Start no further read until `resumeProducing` (`IPushProducer`)."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Continue reading (`IPushProducer`)."""
        self._is_paused = False
        self._read()

    def stopProducing(self) -> None:
        """Close the connection (`IProducer`)."""
        self.loseConnection()

    def loseConnection(self) -> None:
        """Close the connection (`ITransport`)."""
        self._stream.close()
        self.resumeProducing()  # a protocol that has paused must get `connectionLost`, too

    def abortConnection(self) -> None:
        """Close the connection; called when the Deferred of `twisted.web.client.readBody` is cancelled."""
        self.loseConnection()

    def write(self, data: bytes) -> None:
        """Ignore the data, because a response's transport can only receive (`ITransport`)."""

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802  the interface's name
        """Ignore the data (`ITransport`)."""

    def getPeer(self) -> IAddress:  # noqa: N802
        """Return an empty address, because the client chooses the instance of each attempt (`ITransport`)."""
        return HostnameAddress(b"", 0)

    def getHost(self) -> IAddress:  # noqa: N802
        """Return an empty address (`ITransport`)."""
        return HostnameAddress(b"", 0)

    def _read(self) -> None:
        # `_is_reading` is checked, because a stream raises RuntimeError for a second read while a read waits.
        while not self._is_reading and not self._is_paused and self._protocol is not None:
            self._is_reading = True
            self._stream.next_piece().addCallbacks(self._took, self._broke)

    def _took(self, piece: bytes) -> None:
        protocol = self._protocol
        if piece and protocol is not None:
            try:
                protocol.dataReceived(piece)
            except BaseException:  # noqa: BLE001  as with Twisted's agent, the protocol gets it in `connectionLost`
                self._stream.close()
                self._end(Failure(ResponseFailed([Failure()])))
        self._is_reading = False
        if piece:
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
    """A consumer that collects the output of a body producer in memory (`IConsumer`)."""

    parts: list[bytes] = field(factory=list)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # noqa: FBT001  the interface's
        """Accept any producer (`IConsumer`), and never pause it, because the output is collected in memory."""

    def unregisterProducer(self) -> None:
        """Do nothing, because no producer is stored (`IConsumer`)."""

    def write(self, data: bytes) -> None:
        """Append a part of the body (`IConsumer`)."""
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
        key=asked.headers.getRawHeaders(KEY_HEADER.encode(), [None])[0],
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
    """Convert header fields to the client's form, with repeated fields joined by a comma (RFC 9110 §5.3)."""
    return {
        name.decode("latin-1"): ", ".join(value.decode("latin-1") for value in values)
        for name, values in headers.getAllRawHeaders()
        if name.decode("latin-1").lower() not in _NOT_FORWARDED
    }


def _host(name: str) -> str:
    """Convert a service name to a URL host: lower case, with `-` for `_`.

    URL hosts are case-insensitive (RFC 3986 §3.2.2), and some URL libraries reject underscores.
    """
    return name.lower().replace("_", "-")


def _phrase(code: int) -> bytes:
    try:
        return HTTPStatus(code).phrase.encode("ascii")
    except ValueError:
        return b"EAS"
