"""A Twisted `IAgent` for URLs such as `eas://service/path?query`, so that `treq` can call PAI-EAS services.

    http = treq.client.HTTPClient(EasAgent(client))
    response = await http.post("eas://mnist/v2", json={"rows": [1, 2]})

The `PredictClient` does balancing, failover, deadlines and signatures. A response of any status is returned as a
response, as `IAgent` requires; a call without a response fails with the client's typed error.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IClientRequest, IResponse
from zope.interface import implementer

from eas_tw import ConfigError, PredictClient, StatusError
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IProducer, IProtocol
    from twisted.web.iweb import IBodyProducer

# The client sets these itself: they belong to the connection it chooses and to the body it signs (RFC 9112 §3.2, §6).
_NOT_FORWARDED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


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
            method: `POST`; other methods are rejected, because PAI-EAS predictions are POST requests.
            uri: `eas://service`, `eas://service/path` or `eas://group/service/path`, with an optional query. An
                underscore may be written as a hyphen, because some URL libraries reject underscores in hosts.
            headers: Headers of this request; `None` for none. Host, Content-Length, Transfer-Encoding and Connection
                are ignored, because the client sets them.
            bodyProducer: The body; `None` for an empty one. It is read completely before the request is sent, because
                the signature covers it and a failover sends it again.

        Returns:
            A Deferred that fires with the response, of any status, once its body has been received. It fails as
            `PredictClient.predict` does, and with `ConfigError` for an invalid URL or method. Cancelling it cancels
            the call.
        """
        try:
            route = self._route(method, uri)
            fields = _fields(headers or Headers())
        except ConfigError:
            return fail()
        asked = _Asked(method, uri, headers or Headers())
        return Deferred.fromCoroutine(_exchange(route, fields, bodyProducer, asked))

    def _route(self, method: bytes, uri: bytes) -> _Route:
        shown = uri.decode("ascii", "backslashreplace")
        try:
            parts = urlsplit(shown)
        except ValueError as error:
            raise ConfigError(f"an EasAgent takes eas://service/path, got {shown!r}: {error}") from None
        if parts.scheme != "eas":
            raise ConfigError(f"an EasAgent takes eas://service/path, got {shown!r}")
        if method != b"POST":
            raise ConfigError(f"an EasAgent sends POST only, got {method.decode('ascii', 'replace')} {shown!r}")
        whole = parts.netloc + parts.path
        # Longest name first, so that `group/service` is matched before a service that is called `group`.
        for name in sorted(self._clients, key=len, reverse=True):
            rest = whole[len(name) :]
            if _host(whole[: len(name)]) == name and (not rest or rest.startswith("/")):
                return _Route(self._clients[name], rest if rest != "/" else "", parts.query)
        raise ConfigError(f"no client for {shown!r}; there are clients for {', '.join(self._clients)}")


@frozen
class _Route:
    """The client for a URL, with the path below the service and the query."""

    client: PredictClient
    path: str
    query: str


@implementer(IClientRequest)
@frozen
class _Asked:
    """The request of a response, as `IResponse.request` requires it (`IClientRequest`)."""

    method: bytes
    absoluteURI: bytes  # noqa: N815
    headers: Headers


@frozen
class _Body:
    """A request with a body of bytes, whose parsed response is the tuple of status, headers and body."""

    content: bytes

    def to_string(self) -> bytes:
        return self.content

    def parse_response(self, content: bytes) -> bytes:
        return content

    def parse_answer(self, headers: Mapping[str, str], content: bytes) -> tuple[int, Mapping[str, str], bytes]:
        return HTTPStatus.OK, headers, content


@implementer(IResponse)
class _Response:
    """A response whose body has been received completely (`IResponse`)."""

    version = (b"HTTP", 1, 1)

    def __init__(self, asked: _Asked, code: int, headers: Headers, body: bytes) -> None:
        self.request = asked
        self.code = code
        self.phrase = _phrase(code)
        self.headers = headers
        self.length = len(body)
        self.previousResponse: IResponse | None = None
        self._body = body

    def deliverBody(self, protocol: IProtocol) -> None:
        """Deliver the body to a protocol (`IResponse`)."""
        protocol.makeConnection(_Delivered())  # type: ignore[arg-type]  # body readers call only these methods
        if self._body:
            protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: IResponse) -> None:
        """Store the response that preceded a redirect (`IResponse`)."""
        self.previousResponse = response


class _Delivered:
    """The transport given to body readers; every method does nothing, because the body is already in memory."""

    disconnecting = False

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...


@implementer(IConsumer)
@frozen
class _Collected:
    """A consumer that collects the output of a body producer in memory (`IConsumer`)."""

    parts: list[bytes] = field(factory=list)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # noqa: FBT001  the interface's
        """Accept any producer (`IConsumer`); a consumer in memory never pauses one."""

    def unregisterProducer(self) -> None:
        """Do nothing, because no producer is stored (`IConsumer`)."""

    def write(self, data: bytes) -> None:
        """Append a part of the body (`IConsumer`)."""
        self.parts.append(data)


async def _exchange(route: _Route, fields: dict[str, str], producer: IBodyProducer | None, asked: _Asked) -> _Response:
    request = _Body(b"" if producer is None else await _collect(producer))
    try:
        status, headers, body = await route.client.predict(request, path=route.path, query=route.query, headers=fields)
    except StatusError as error:
        status, headers, body = error.status, error.headers, error.body
    return _Response(asked, status, Headers({name: [value] for name, value in headers.items()}), body)


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
