"""The `forward` processor: sends the request to another HTTP server and returns its response.

The command `record` uses it. Tests use it to answer requests with a function of the test process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import field, frozen
from twisted.internet.defer import Deferred

from simulator.messages import Response

if TYPE_CHECKING:
    from simulator.messages import ReceivedRequest

TIMEOUT_S = 60.0
_NOT_FORWARDED = frozenset({"host", "connection", "content-length", "transfer-encoding", "expect", "upgrade", "te"})
_NOT_RETURNED = frozenset({"connection", "content-length", "transfer-encoding", "content-type", "keep-alive"})


def _check(_: Any, __: Any, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"forward takes a URL such as http://HOST/api/predict/SERVICE, got {url!r}")


@frozen
class Forward:
    """Forwards requests to one URL.

    Attributes:
        url: URL that replaces the service's path; the rest of a request's path is appended to the URL.
    """

    url: str = field(validator=_check)

    def send(self, reactor: Any, request: ReceivedRequest, path: str) -> Deferred[Response]:
        """Forward a request.

        Args:
            reactor: Reactor that provides network and clock.
            request: The request; its headers are forwarded, except those of the connection.
            path: Path of the request relative to the service's path.

        Returns:
            A Deferred that fires with the response or, if none is received, with a 502 whose body gives the reason. The
            Deferred never fails.
        """
        return Deferred.fromCoroutine(self._send(reactor, request, path))

    async def _send(self, reactor: Any, request: ReceivedRequest, path: str) -> Response:
        # Imported here, so that only a simulator that forwards imports treq.
        from treq import content  # noqa: PLC0415
        from treq.client import HTTPClient  # noqa: PLC0415
        from twisted.web.client import Agent, HTTPConnectionPool  # noqa: PLC0415
        from twisted.web.http_headers import Headers  # noqa: PLC0415

        client = HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))
        target = f"{self.url.rstrip('/')}{path}{'?' if request.query else ''}{request.query}"
        headers = Headers()
        for name, value in request.headers.items():
            if name not in _NOT_FORWARDED:
                headers.addRawHeader(name, value)
        try:
            answer = await client.request(
                request.method, target, headers=headers, data=request.body, allow_redirects=False, unbuffered=True,
                timeout=TIMEOUT_S, reactor=reactor,
            )  # fmt: skip
            body = await content(answer)
        except Exception as error:  # noqa: BLE001  any failure becomes a 502
            text = f"cannot forward to {self.url}: {error or type(error).__name__}\n"
            return Response(502, text.encode("utf-8", "replace"), "text/plain; charset=utf-8")
        fields = {
            name.decode("latin-1"): values[-1].decode("latin-1") for name, values in answer.headers.getAllRawHeaders()
        }
        kind = next((value for name, value in fields.items() if name.lower() == "content-type"), "")
        kept = {name: value for name, value in fields.items() if name.lower() not in _NOT_RETURNED}
        return Response(answer.code, body, kind, kept)
