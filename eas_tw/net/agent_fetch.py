"""Discovery requests through an agent that the user passed, such as one for a proxy.

If the user passed no agent, `net.fetch` sends the discovery requests. `collect` reads a body up to a limit; it is also
used by `net.gateway`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from eas_tw.display import text_of
from eas_tw.net.pieces import add_piece, joined
from eas_tw.policy.instances import BadStatusError, DiscoveryReplyRejected, RejectReason

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.iweb import IAgent, IResponse

    from eas_tw.net.pieces import Pieces

_OK = 200


class AgentFetcher:
    """Fetches documents within limits of time and size; redirects are not followed.

    Args:
        clock: The reactor.
        agent: The user's agent; its sockets are neither counted nor closed here.
        timeout_s: Maximum time for one document in seconds, from the call of `get` to the last byte received.
        max_bytes: Maximum size of a document, after decompression.
    """

    def __init__(self, clock: IReactorTime, agent: IAgent, *, timeout_s: float, max_bytes: int) -> None:
        self._clock = clock
        self._agent = agent
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    def get(self, url: str) -> Deferred[bytes]:
        """Fetch the document at `url`, with the same errors as `net.fetch.DirectFetcher.get`."""
        return Deferred.fromCoroutine(self._get_in_time(url))

    def close(self) -> Deferred[None]:
        """Return a Deferred that has fired; the sockets belong to the agent, and are not closed."""
        return succeed(None)

    async def _get_in_time(self, url: str) -> bytes:
        getting = Deferred.fromCoroutine(self._get(url))
        timer = self._clock.callLater(self._timeout_s, getting.cancel)
        try:
            return await getting
        except DiscoveryReplyRejected:
            raise
        except Exception as error:
            # Only the timer's state distinguishes a timeout, since a cancelled request may fail with any exception.
            if not timer.active():
                raise DiscoveryReplyRejected(
                    RejectReason.TIMEOUT, f"no whole reply within {self._timeout_s:g} s"
                ) from error
            raise DiscoveryReplyRejected(RejectReason.CONNECTION, f"no reply: {_phrase(error)}") from error
        finally:
            if timer.active():
                timer.cancel()

    async def _get(self, url: str) -> bytes:
        # treq cannot be used: its URLs accept neither IPv6 addresses nor names with an underscore.
        headers = Headers({"Accept-Encoding": ["identity"]})
        response = await self._agent.request(b"GET", url.encode("ascii"), headers, None)
        body = await collect(response, self._max_bytes)
        if response.code != _OK:
            raise BadStatusError(response.code)
        return body


def collect(response: IResponse, limit: int) -> Deferred[bytes]:
    """Read the body of a response; fails with a `DiscoveryReplyRejected` when it is longer than `limit` bytes."""
    collector = _Collector(limit)
    response.deliverBody(collector)
    return collector.whole


class _Collector(Protocol):
    """Collects a body up to a limit."""

    def __init__(self, limit: int) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._limit = limit
        self._size = 0
        self._parts: Pieces = []

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            self._end(DiscoveryReplyRejected(RejectReason.VIOLATION, f"the reply is larger than {self._limit} bytes"))
            self._abort()
        else:
            add_piece(self._parts, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Twisted reports PotentialDataLoss at the end of a body without a length, as HTTP/1.0 servers send.
        whole = reason.check(ResponseDone, PotentialDataLoss)
        self._end(joined(self._parts) if whole else reason.value)

    def _end(self, result: bytes | BaseException | None) -> None:
        if self.whole.called:
            return
        if isinstance(result, bytes):
            self.whole.callback(result)
        else:
            self.whole.errback(result or ConnectionError("the reply broke off"))

    def _abort(self) -> None:
        # The transport that Twisted's agent passes to a body's protocol has no abortConnection. Its loseConnection
        # closes immediately, since the whole request has been written by now.
        for name in ("abortConnection", "loseConnection"):
            end = getattr(self.transport, name, None)
            if end is not None:
                end()
                return


def _phrase(error: object) -> str:
    reasons = getattr(error, "reasons", None)
    if isinstance(reasons, list) and reasons and isinstance(reasons[0], Failure):
        error = reasons[0].value
    return text_of(error) or type(error).__name__
