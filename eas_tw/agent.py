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
            method: `POST`; a prediction is nothing else.
            uri: `eas://service`, `eas://service/path` or `eas://group/service/path`, with a query if need be. An
                underscore may be written as a hyphen, which some URL libraries insist on.
            headers: Of this request; Host and the like are the client's to say.
            bodyProducer: The body; read whole, since the signature covers it and a failover sends it again.

        Returns:
            Fires with the response once its body is there, whatever its status. Fails as `PredictClient.predict` does,
            with `ConfigError` for a URL or method that is not one. Cancelling it cancels the call.
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
            raise ConfigError(f"PAI-EAS predictions are POSTed, got {method.decode('ascii', 'replace')} {shown!r}")
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


@frozen
class _Body:
    """A request of bytes whose answer is everything that came back."""

    content: bytes

    def to_string(self) -> bytes:
        return self.content

    def parse_response(self, content: bytes) -> bytes:
        return content

    def parse_answer(self, headers: Mapping[str, str], content: bytes) -> tuple[int, Mapping[str, str], bytes]:
        return HTTPStatus.OK, headers, content


@implementer(IResponse)
class _Response:
    """A whole response (`IResponse`)."""

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
        """Give the body to a protocol (`IResponse`)."""
        protocol.makeConnection(_Delivered())  # type: ignore[arg-type]  # readers ask no more of it
        if self._body:
            protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: IResponse) -> None:
        """Remember the response before a redirect (`IResponse`)."""
        self.previousResponse = response


class _Delivered:
    """The transport of a body that is there already: there is nothing to pause and nothing to stop."""

    disconnecting = False

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...


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
