"""One HTTP/1.1 client connection on httptools: one request out, one response back, any number of times.

Owns what the parser leaves to its user (docs/design has the list): which responses are acceptable, bounds on head, body
and framing overhead, when a connection may be kept, and how to name a loss. Knows no instance, no pool policy and no
retry: it reports to the exchange it carries and to its owner, the pool.
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection as SocketTransport
from zope.interface import implementer

from eas_tw.net.connect_errors import local_shortage
from eas_tw.net.pieces import add_piece
from eas_tw.net.readable import input_probe
from eas_tw.policy.outcomes import AttemptStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
    from twisted.python.failure import Failure

    from eas_tw.net.flush import Flusher
    from eas_tw.net.pieces import Pieces
    from eas_tw.net.stream import Source

    class Transport(ITCPTransport, IConsumer, IPushProducer):
        """What a connection needs of its transport."""


_VERSION = b"http/1."
_LENGTH, _CODING = b"\r\ncontent-length:", b"\r\ntransfer-encoding:"
_BLANK_LINE = b"\r\n\r\n"
_SWITCHING_PROTOCOLS = 101
_BODILESS = (204, 304)
_FIRST_STATUS, _FIRST_FINAL, _LAST_STATUS = 100, 200, 599
_MAX_INTERIM = 16
_CHUNK_OVERHEAD_BYTES = 64
_FIRST_WRITE_BYTES = 2**16
"""How much of a body is written together with its head; the transport writes the rest when the socket takes more."""
_NEXT_WRITE_BYTES = 2**17
"""How much a Twisted transport offers the socket at a time (`FileDescriptor.SEND_LIMIT`)."""
_SOCKET_IS_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})
"""Errors of `send` after which Twisted's transports wait and try again."""


class BodySink(Protocol):
    """Who takes the body of a response while it arrives; told of its end exactly once, by one of the last two."""

    def open(self) -> None:
        """The head is complete; called once, before anything else."""

    def feed(self, piece: bytes) -> None:
        """A piece of the body came."""

    def finished(self) -> None:
        """The body is whole."""

    def broke(self, outcome: Outcome) -> None:
        """The rest of the body will not come."""


class NoBody:
    """What `Exchange.on_head` returns for a response that ends with its head, whatever it announces."""


class Exchange(Protocol):
    """Who waits for a response: told exactly once, by `answered` or `broke`, or by what `on_head` returns."""

    @property
    def on_head(self) -> Callable[[Source, int, bytes], BodySink | type[NoBody] | None] | None:
        """Asked when the head of the final response is complete; `None` to get every response whole.

        Called with the connection, the status and the head. What it returns decides:

        1. `None`: the response is collected and given to `answered`.
        2. `NoBody`: the same, without a body.
        3. A sink: takes the body as it comes, and the exchange is told nothing any more.
        """

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """A whole response came; `head` is its status line and fields, each ended by CRLF."""

    def broke(self, outcome: Outcome) -> None:
        """No whole response will come."""


class Owner(Protocol):
    """Who keeps connections: the pool."""

    def connection_made(self, connection: ClientConnection) -> None:
        """The connection can take a request."""

    def connection_free(self, connection: ClientConnection) -> None:
        """The exchange is over, and the connection can take another."""

    def connection_lost(self, connection: ClientConnection) -> None:
        """The socket is gone."""


NEVER = -math.inf
_Answer = tuple[int, bytes, bytes, bool]
"""Status, head, body, and whether the connection may be kept."""


def _has_no_input() -> bool:
    """What is asked of a transport without a socket: it hands over whatever comes at once."""
    return False


def _is_unusable() -> bool:
    """What is asked of a connection that is being closed."""
    return True


@implementer(IPullProducer)
class ClientConnection(TwistedProtocol):
    """A connection to an instance.

    Args:
        owner: Told when the connection is made, free or lost.
        flusher: Who lets it write its requests.
        max_head_bytes: Of a response's head.
        max_body_bytes: Of a response's body.

    Attributes:
        idle_since: When it was put by, in the reactor's seconds; `NEVER` while it has not been. Kept by the pool.
        used: How many exchanges it has begun.
        heard_at: When a part of the response came last that did not complete it; `NEVER` while none has.
        is_lost: Whether the socket is gone.
    """

    transport: Transport

    def __init__(self, owner: Owner, flusher: Flusher, *, max_head_bytes: int, max_body_bytes: int) -> None:
        self._owner = owner
        self._flusher = flusher
        self._max_head = max_head_bytes
        self._max_body = max_body_bytes
        self._parser = HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._answer: _Answer | None = None
        self._violation = ""
        self._head: bytes = b""
        self._raw: bytes | bytearray = b""
        self._unsent: tuple[bytes, bytes] | None = None
        self._write_to_socket: Callable[[bytes], int] | None = None
        self._has_input: Callable[[], object] = _has_no_input
        self._sink: BodySink | None = None
        self._rest: bytes | None = None
        self._rest_at = 0
        self._body: Pieces = []
        self._body_bytes = self._more_pieces = self._status = self._fed_bytes = self._interim = 0
        self._head_done = self._until_close = False
        self.idle_since = NEVER
        self.used = 0
        self.heard_at = NEVER
        self._is_new = False
        self._shortage = ""
        self.is_lost = False

    # -- what the pool calls

    def send(self, head: bytes, body: bytes, exchange: Exchange) -> None:
        """Write a request and carry its exchange until it is answered or broken."""
        self._exchange = exchange
        self.used += 1
        self._fed_bytes = self._interim = 0
        self._raw = b""
        self._head_done = False
        self.heard_at = NEVER
        self._unsent = (head, body)
        if self._write_to_socket is None:
            self.flush()
        else:
            self._flusher.soon(self)

    def flush(self) -> None:
        """Write the request, unless the connection turns out to be unusable; then nothing of it leaves."""
        if self._unsent is None:
            return
        # Asked here, and not when the connection is taken from the pool: the caller's code has run since then.
        if self._has_input():
            self._abort()
            return
        head, body = self._unsent
        first = head + body[:_FIRST_WRITE_BYTES]
        write = self._write_to_socket
        try:
            written = self._write_to_transport(first) if write is None else write(first)
        except (OSError, MemoryError) as error:
            if getattr(error, "errno", None) not in _SOCKET_IS_FULL:
                self._shortage = local_shortage(error)
                self._abort()
                return
            written = 0
        self._unsent = None
        if written < len(head) + len(body):
            self._write_rest(head, body, written)

    def pause(self) -> None:
        """Read no more from the socket for a while."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Go on reading."""
        self.transport.resumeProducing()

    def abandon(self) -> None:
        """Nobody wants the answer any more, so the connection cannot be used again."""
        self._exchange = self._sink = None
        self._abort()

    def abort(self) -> None:
        """Close at once, since something here cannot go on; the exchange breaks."""
        self._abort()

    def hand_over(self, exchange: Exchange) -> None:
        """Let another exchange have what comes of the outstanding request."""
        self._exchange = exchange

    def close(self) -> None:
        """Close in order; for idle connections."""
        self.transport.loseConnection()

    @property
    def is_busy(self) -> bool:
        """Whether a request is outstanding."""
        return self._exchange is not None

    @property
    def is_writing(self) -> bool:
        """Whether a part of the request has not been taken by the socket."""
        return self._unsent is not None or self._rest is not None

    # -- what the transport calls

    def connectionMade(self) -> None:
        """The socket is connected (`IProtocol`)."""
        self.transport.setTcpNoDelay(True)
        if isinstance(self.transport, SocketTransport) and not self.transport.TLS:
            handle = self.transport.getHandle()
            self._write_to_socket = handle.send
            self._has_input = input_probe(handle)
        self._owner.connection_made(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came (`IProtocol`)."""
        if self._exchange is None or self._unsent is not None:
            # Bytes nobody asked for, or not yet: the next caller must never take them for its answer.
            self._abort()
            return
        self._fed_bytes += len(data)
        if not self._head_done:
            self._raw = self._with_more(data) if self._raw else data
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._violation = self._violation or "the response switches protocols"
        except HttpParserError as error:
            self._violation = self._violation or f"the response is not HTTP/1.1: {error}"
        if self._sink is not None:
            self._pass_on_body()
            return
        answer = self._answer
        if answer is not None:
            # Only now, with the parser done: a second response in the same bytes must not meet the next exchange.
            exchange, self._exchange, self._answer = self._exchange, None, None
            status, head, body, keep_alive = answer
            try:
                if keep_alive and self._rest is None and not self._violation:
                    self._owner.connection_free(self)
                else:
                    self._end_after_answer()
            finally:
                # Whatever the owner raises, the exchange ends.
                exchange.answered(status, head, body)
        elif self._violation:
            self._violate(self._violation)
        elif self._overhead_is_unbounded():
            self._violate("the response's head or framing is too large")
        else:
            self.heard_at = self._flusher.seconds()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The socket is gone (`IProtocol`)."""
        self.is_lost = True
        exchange, self._exchange = self._exchange, None
        sink, self._sink = self._sink, None
        # It holds this connection's methods: without the circle both are gone at once, and need no collector.
        del self._parser
        try:
            # The owner first: whoever takes the answer may ask the pool for another connection at once.
            self._owner.connection_lost(self)
        finally:
            # Whatever the owner raises, the exchange ends.
            is_whole = self._head_done and self._until_close and reason.check(ConnectionDone) is not None
            if sink is not None:
                sink.finished() if is_whole else sink.broke(self._loss(reason))
            elif exchange is not None and is_whole:
                exchange.answered(self._status, self._head, b"".join(self._body))
            elif exchange is not None:
                exchange.broke(self._loss(reason))
            self._unsent = self._rest = None

    def resumeProducing(self) -> None:
        """The transport has written what it was given (`IPullProducer`); also called at registration."""
        if self._rest is None:
            return
        piece = self._rest[self._rest_at : self._rest_at + _NEXT_WRITE_BYTES]
        if piece:
            self._rest_at += len(piece)
            self.transport.write(piece)
        else:
            self._rest = None
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The transport is going away (`IPullProducer`); `connectionLost` tells the rest."""

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """A response begins (httptools)."""
        if self._answer is not None:
            self._violation = "a second response follows the first"
        self._body = []
        self._body_bytes = self._more_pieces = self._status = 0
        self._head_done = self._until_close = False

    def on_headers_complete(self) -> None:
        """The head is complete (httptools)."""
        raw = self._raw if isinstance(self._raw, bytes) else bytes(self._raw)
        end = raw.find(_BLANK_LINE) + 2
        self._head, self._raw = raw[:end], b""
        self._status = status = self._parser.get_status_code()
        self._head_done = True
        # Looked up in the raw head: a callback and two objects per field would cost more than all the rest.
        head = self._head.lower()
        at = head.find(_LENGTH) + len(_LENGTH)
        length = head[at : head.find(b"\r\n", at)].strip() if at >= len(_LENGTH) else None
        coding = _field(head, _CODING) if _CODING in head else None
        self._until_close = length is None and coding is None and status not in _BODILESS
        if not head.startswith(_VERSION):
            # The parser would also take RTSP/1.0, ICE/1.0 and blank lines in front.
            self._violation = "the response does not begin with HTTP/1."
        elif end > self._max_head:
            self._violation = "the response's head is too large"
        elif coding is not None and (
            coding != b"chunked" or head.count(_CODING) > 1 or self._parser.get_http_version() != "1.1"
        ):
            self._violation = "the response has a transfer coding other than chunked"
        elif not _FIRST_FINAL <= status <= _LAST_STATUS:
            self._check_interim(status, raw[end + 2 :])
        elif self._is_taken_over(status, has_more=len(raw) > end + 2):
            pass
        elif length is not None and int(length) > self._max_body:
            self._violation = f"the response announces a body of {int(length)} bytes, more than {self._max_body}"

    def on_body(self, body: bytes) -> None:
        """A piece of the body came (httptools)."""
        self._body_bytes += len(body)
        if self._sink is not None:
            # Passed on when the parser has done with these bytes: a reader may close the connection.
            self._more_pieces += 1
            add_piece(self._body, body) if self._body else self._body.append(body)
        elif self._body_bytes > self._max_body:
            self._violation = f"the response's body is larger than {self._max_body} bytes"
        elif self._body:
            self._more_pieces += 1
            add_piece(self._body, body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The response is complete (httptools)."""
        if self._violation:
            return
        if self._status < _FIRST_FINAL:
            self._head_done = False
            return
        body = self._body
        # Asked here: after feed_data the parser has forgotten the message and says no.
        keep_alive = self._parser.should_keep_alive()
        self._answer = (self._status, self._head, b"".join(body), keep_alive)

    # -- how it decides

    def _check_interim(self, status: int, rest: bytes) -> None:
        """A 1xx response is skipped (RFC 9110 §15.2), and its rest is the next head; a flood of them is not."""
        self._interim += 1
        self._raw = rest
        if status == _SWITCHING_PROTOCOLS or not _FIRST_STATUS <= status <= _LAST_STATUS:
            self._violation = f"the response has the status {status}"
        elif self._interim > _MAX_INTERIM:
            self._violation = f"more than {_MAX_INTERIM} interim responses"

    def _is_taken_over(self, status: int, *, has_more: bool) -> bool:
        """Let the exchange say what becomes of the body; whether a sink takes it."""
        on_head = self._exchange.on_head if self._exchange is not None else None
        if on_head is None:
            return False
        found = on_head(self, status, self._head)
        if found is None:
            return False
        if found is NoBody:
            self._answer = (status, self._head, b"", self._parser.should_keep_alive())
            # The old one waits for the body that the head announces, and has the rest of these bytes.
            self._parser = HttpResponseParser(self)
            if has_more:
                self._violation = "a body follows a response that has none"
            return True
        self._sink = found  # type: ignore[assignment]  # nothing else is left
        self._is_new = True
        return True

    def _pass_on_body(self) -> None:
        """Give the sink what came of the body, and its end."""
        sink, answer = self._sink, self._answer
        if sink is None:
            return
        if self._is_new:
            self._is_new = False
            sink.open()
        if self._body and self._sink is not None:
            pieces, self._body = self._body, []
            sink.feed(b"".join(pieces))
        if self._sink is None:
            # Its reader has closed it.
            return
        if self._violation or self._overhead_is_unbounded():
            self._sink = self._exchange = None
            self._abort()
            sink.broke(
                Outcome(AttemptStatus.VIOLATION, detail=self._violation or "the response's framing is too large")
            )
        elif answer is not None:
            self._sink = self._exchange = self._answer = None
            try:
                sink.finished()
            finally:
                if answer[3] and self._rest is None:
                    self._owner.connection_free(self)
                else:
                    self._end_after_answer()

    def _end_after_answer(self) -> None:
        """Close a connection that cannot be kept after a whole response."""
        if self._violation or self._rest is not None:
            # With the request half written its rest would only delay the close.
            self._abort()
        else:
            self.transport.loseConnection()

    def _overhead_is_unbounded(self) -> bool:
        """Whether endless header lines, trailers or chunk extensions are being fed: no callback tells of those."""
        overhead = self._fed_bytes - self._body_bytes
        return overhead > 2 * self._max_head + _CHUNK_OVERHEAD_BYTES * (self._more_pieces + 1)

    def _write_to_transport(self, data: bytes) -> int:
        self.transport.write(data)
        return len(data)

    def _write_rest(self, head: bytes, body: bytes, written: int) -> None:
        """Let the transport write what the socket has not taken, and know when it has."""
        at = written - len(head)
        self._rest, self._rest_at = (body, at) if at >= 0 else (head + body, written)
        self.transport.registerProducer(self, False)

    def _with_more(self, data: bytes) -> bytearray:
        """The raw head and the bytes that follow, in a buffer that grows: a head may come byte by byte."""
        raw = self._raw if isinstance(self._raw, bytearray) else bytearray(self._raw)
        raw += data
        return raw

    def _abort(self) -> None:
        # Twisted reports the loss a turn later: a request that is given to this connection until then must not leave.
        self._has_input = _is_unusable
        self.transport.abortConnection()

    def _violate(self, detail: str) -> None:
        exchange, self._exchange = self._exchange, None
        self._abort()
        if exchange is not None:
            exchange.broke(Outcome(AttemptStatus.VIOLATION, detail=detail))

    @property
    def _was_kept(self) -> bool:
        """Whether it was there before the request, used or not: it may have died since without a word."""
        return self.used > 1 or self.idle_since > NEVER

    def _loss(self, reason: Failure) -> Outcome:
        if self._unsent is not None:
            if self._shortage:
                return Outcome(AttemptStatus.LOCAL_RESOURCE, detail=self._shortage)
            # A new one that closes at once is no better than one that was refused.
            attempt_status = AttemptStatus.UNSENT if self._was_kept else AttemptStatus.CONNECT_FAILED
            was_aborted = reason.check(ConnectionAborted)
            detail = "it closed, or sent bytes, before the request had left" if was_aborted else _phrase(reason)
            return Outcome(attempt_status, detail=detail)
        if self._fed_bytes:
            return Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail=f"after {self._fed_bytes} bytes of the response")
        return Outcome(AttemptStatus.STALE if self._was_kept else AttemptStatus.LOST, detail=_phrase(reason))


def _phrase(reason: Failure) -> str:
    if reason.check(ConnectionDone):
        return "closed"
    error = reason.value
    # The names of Twisted's errors say what happened; OpenSSL's are all called the same.
    return type(error).__name__ if isinstance(error, ConnectionClosed) else f"{type(error).__name__}: {error}"


def _field(head: bytes, name: bytes) -> bytes | None:
    """The value of the first field of that name in a lower-case head."""
    at = head.find(name)
    if at < 0:
        return None
    at += len(name)
    return head[at : head.find(b"\r\n", at)].strip()


def text_headers(head: bytes) -> dict[str, str]:
    """Fields as text, names in lower case; of a repeated one the values joined by a comma (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            name, value = name.lower(), value.strip()
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
