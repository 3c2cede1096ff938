"""An HTTP/1.1 client connection on httptools: one request and one response at a time.

The connection makes the checks that httptools does not make (docs/design/http1.md lists them): which responses are
acceptable, the bounds on head, body and framing overhead, when a connection may be reused, and the outcome of a lost
connection. It reports to the exchange that it carries, and to its owner, such as the pool.
"""

from __future__ import annotations

import errno
import math
from functools import partial
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection as SocketTransport
from zope.interface import implementer

from eas_tw.net.connect_errors import local_shortage
from eas_tw.net.direct_body import DirectBody, is_direct
from eas_tw.net.exchange import NoBody
from eas_tw.net.heads import field
from eas_tw.net.pieces import add_piece, joined
from eas_tw.net.readable import input_probe
from eas_tw.policy.outcomes import OK_STATUS, AttemptStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
    from twisted.python.failure import Failure

    from eas_tw.net.exchange import BodySink, Exchange, Owner
    from eas_tw.net.flush import Flusher
    from eas_tw.net.pieces import Pieces

    class Transport(ITCPTransport, IConsumer, IPushProducer):
        """The interfaces that a connection requires of its transport."""

        def startWriting() -> None:  # noqa: N802  the name in Twisted; a method of an interface
            """Resume the producer when the socket is writable; only a transport with a socket has this method."""


_VERSION = b"http/1."
_LENGTH, _CODING = b"\r\ncontent-length:", b"\r\ntransfer-encoding:"
_BLANK_LINE = b"\r\n\r\n"
_SWITCHING_PROTOCOLS = 101
_BODILESS = (204, 304)
RESET_CONTENT = 205
"""A response with this status has no content (RFC 9110 §15.3.6), but unlike `_BODILESS` it may announce a body."""
_FIRST_STATUS, _FIRST_FINAL, _LAST_STATUS = 100, 200, 599
# A server may send any number of 1xx responses (RFC 9110 §15.2). The bound stops a server that never sends a final
# response.
_MAX_INTERIM = 16
# Maximum size of the framing (a chunk's size line and extensions) for each piece of a body; more is a violation.
_CHUNK_OVERHEAD_BYTES = 64
_FIRST_WRITE_BYTES = 2**16
"""Maximum bytes of a body that are written together with the head; the transport writes the rest later."""
_USUAL_HEAD_BYTES = 1024
"""Maximum size of the head that a connection stores for comparison, which bounds the memory of idle connections."""
_NEXT_WRITE_BYTES = 2**17
"""Bytes that a Twisted transport passes to the socket in one `send` (`FileDescriptor.SEND_LIMIT`)."""
_SOCKET_IS_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})
"""Errors of `send` after which Twisted's transports wait and retry."""


NEVER = -math.inf
_Answer = tuple[int, bytes, bytes, bool]
"""Status, head, body, and whether the connection may be reused."""


def _has_no_input() -> bool:
    """Return `False`: a transport without a socket delivers input immediately."""
    return False


def _is_unusable() -> bool:
    """Return `True`, so that a connection that is being closed is not used."""
    return True


@implementer(IPullProducer)
class ClientConnection(TwistedProtocol):
    """A connection to an instance.

    Args:
        owner: The object that is notified when the connection is made, free or lost.
        flusher: The object that calls `flush` at the end of the reactor's turn, to write the request.
        max_head_bytes: Maximum size of a response's head.
        max_body_bytes: Maximum size of a response's body.

    Attributes:
        idle_since: The time at which the pool last stored the connection as idle, in the reactor's seconds; `NEVER`
            before that. Set by the pool.
        used: Number of exchanges that have begun on the connection.
        heard_at: The time at which bytes of an incomplete response last arrived, in the reactor's seconds; `NEVER`
            before that.
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
        self._usual_head = self._usual_start = b""
        self._usual_bytes = 0
        self._raw: bytes | bytearray = b""
        self._unsent: tuple[bytes, bytes] | None = None
        self._write_to_socket: Callable[[bytes | memoryview], int] | None = None
        self._has_input: Callable[[], object] = _has_no_input
        self._sink: BodySink | None = None
        self._rest: bytes | None = None
        self._rest_at = 0
        self._body: Pieces = []
        self._announced: tuple[int, bool] | None = None
        self._direct: DirectBody | None = None
        self._body_bytes = self._more_pieces = self._status = self._fed_bytes = self._interim = 0
        self._head_done = self._until_close = False
        self.idle_since = NEVER
        self.used = 0
        self.heard_at = NEVER
        self._is_new = False
        self._shortage = ""

    # -- called by the pool

    def send(self, head: bytes, body: bytes, exchange: Exchange) -> None:
        """Write a request, and carry its exchange until the response is complete or has failed."""
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
        """Write the request; if the connection is no longer usable, close it without sending anything."""
        if self._unsent is None:
            return
        # Checked here, and not when the connection is taken from the pool, because the program's code has run since
        # then, and the server may have closed the connection meanwhile.
        if self._has_input():
            self._abort()
            return
        head, body = self._unsent
        first = head + (body if len(body) <= _FIRST_WRITE_BYTES else body[:_FIRST_WRITE_BYTES])
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
        """Stop reading from the socket until `resume`."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Continue reading from the socket."""
        self.transport.resumeProducing()

    def abandon(self) -> None:
        """Close the connection and drop its exchange.

        The connection cannot be reused, because the response to the dropped exchange would be read as the response to
        the next request.
        """
        self._exchange = self._sink = None
        self._abort()

    def abort(self) -> None:
        """Close the connection immediately after an error in this process; `broke` is called on the exchange."""
        self._abort()

    def hand_over(self, exchange: Exchange) -> None:
        """Let `exchange` receive the response to the outstanding request, in place of the present exchange."""
        self._exchange = exchange

    def close(self) -> None:
        """Close an idle connection gracefully."""
        self.transport.loseConnection()

    @property
    def is_busy(self) -> bool:
        """Whether a request is outstanding."""
        return self._exchange is not None

    @property
    def is_writing(self) -> bool:
        """Whether the socket has not accepted the whole request yet."""
        return self._unsent is not None or self._rest is not None

    # -- called by the transport

    def connectionMade(self) -> None:
        """Prepare the connected socket (`IProtocol`)."""
        self.transport.setTcpNoDelay(True)
        if isinstance(self.transport, SocketTransport) and not self.transport.TLS:
            handle = self.transport.getHandle()
            self._write_to_socket = handle.send
            self._has_input = input_probe(handle)
        self._owner.connection_made(self)

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes (`IProtocol`)."""
        exchange, sink = self._exchange, self._sink
        if sink is not None:
            self._receive_body(data, sink)
            return
        if exchange is None or self._unsent is not None:
            # Bytes that arrive before the request has been sent are not its response (RFC 9112 §9.2).
            self._abort()
            return
        if (
            len(data) == self._usual_bytes
            and not self._fed_bytes
            and data.startswith(self._usual_start)
            and exchange.on_head is None
        ):
            # Head and total length equal those of the last accepted response, so parsing is not needed: the head alone
            # determines how long the body is, and whether the connection may be reused (`_remember`).
            answer: _Answer | None = (OK_STATUS, self._usual_head, data[len(self._usual_start) :], True)
        else:
            self._parse(data)
            if self._sink is not None:
                self._pass_on_body()
                return
            answer, self._answer = self._answer, None
        if answer is not None:
            # The exchange is ended only after the parser has returned, so that a second response in the same bytes does
            # not reach the next exchange.
            self._exchange = None
            status, head, body, keep_alive = answer
            try:
                if keep_alive and self._rest is None and not self._violation:
                    self._owner.connection_free(self)
                else:
                    self._end_after_answer()
            finally:
                # The exchange must end even if the owner raises.
                exchange.answered(status, head, body)
        elif self._violation:
            self._violate(self._violation)
        elif self._overhead_is_unbounded():
            self._violate("the response's head or framing is too large")
        else:
            self._wait_for_more()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the loss of the socket (`IProtocol`)."""
        exchange, self._exchange = self._exchange, None
        sink, self._sink = self._sink, None
        # The parser refers to this connection's methods. Deleting the parser breaks this reference cycle, so that both
        # are freed immediately, without the garbage collector.
        del self._parser
        if self._direct is not None:
            self._direct.stop()
            self._direct = None
        try:
            # The owner is notified first, because the code that receives the response may need another connection
            # immediately.
            self._owner.connection_lost(self)
        finally:
            # The exchange must end even if the owner raises.
            is_whole = self._head_done and self._until_close and reason.check(ConnectionDone) is not None
            if sink is not None:
                sink.finished() if is_whole else sink.broke(self._loss(reason))
            elif exchange is not None and is_whole:
                exchange.answered(self._status, self._head, joined(self._body))
            elif exchange is not None:
                exchange.broke(self._loss(reason))
            self._unsent = self._rest = None

    def resumeProducing(self) -> None:
        """Write the next part of the body (`IPullProducer`)."""
        rest = self._rest
        if rest is None:
            return
        if self._rest_at == len(rest):
            self._rest = None
            self.transport.unregisterProducer()
        elif self._write_to_socket is None:
            self._write_by_transport(rest)
        else:
            self._write_directly(rest, self._write_to_socket)

    def stopProducing(self) -> None:
        """Do nothing, because `connectionLost` reports the end (`IPullProducer`)."""

    # -- called by the parser

    def on_message_begin(self) -> None:
        """Start a response (httptools)."""
        if self._answer is not None:
            self._violation = "a second response follows the first"
        self._body = []
        self._body_bytes = self._more_pieces = self._status = 0
        self._head_done = self._until_close = False
        self._announced = None

    def on_headers_complete(self) -> None:
        """Check a complete head (httptools)."""
        raw = self._raw if isinstance(self._raw, bytes) else bytes(self._raw)
        end = raw.find(_BLANK_LINE) + 2
        self._head, self._raw = raw[:end], b""
        self._status = status = self._parser.get_status_code()
        self._head_done = True
        # The fields are searched for in the raw head, because the parser's callback for each field, with two objects,
        # would cost more than all other work.
        head = self._head.lower()
        at = head.find(_LENGTH) + len(_LENGTH)
        length = head[at : head.find(b"\r\n", at)].strip() if at >= len(_LENGTH) else None
        coding = field(head, _CODING) if _CODING in head else None
        self._until_close = length is None and coding is None and status not in _BODILESS
        if not head.startswith(_VERSION):
            # The parser also accepts RTSP/1.0, ICE/1.0, and blank lines before the status line.
            self._violation = "the response does not begin with HTTP/1."
        elif end > self._max_head:
            self._violation = "the response's head is too large"
        elif coding is not None and (
            coding != b"chunked" or head.count(_CODING) > 1 or self._parser.get_http_version() != "1.1"
        ):
            self._violation = "the response has a transfer coding other than chunked"
        elif not _FIRST_FINAL <= status <= _LAST_STATUS:
            self._check_interim(status, raw[end + 2 :])
        elif status == RESET_CONTENT and length != b"0":
            self._end_at_head(has_more=True)  # a server may send the body that it announces, so the connection closes
        elif self._is_taken_over(status, has_more=len(raw) > end + 2):
            pass
        elif length is not None and int(length) > self._max_body:
            self._violation = f"the response announces a body of {int(length)} bytes, more than {self._max_body}"
        elif length is not None and coding is None and is_direct(int(length)):
            self._announced = int(length), self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body (httptools)."""
        self._body_bytes += len(body)
        if self._sink is not None:
            # The pieces are passed on after the parser has returned, because the reader may close the connection.
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
        """Finish a complete response (httptools)."""
        if self._violation or self._answer is not None:  # `_end_at_head` has set the answer
            return
        if self._status < _FIRST_FINAL:
            self._head_done = False
            return
        body = self._body
        # `should_keep_alive` must be called in this callback. After `feed_data` the parser has been reset, and returns
        # `False`.
        keep_alive = self._parser.should_keep_alive()
        whole = joined(body)
        self._answer = (self._status, self._head, whole, keep_alive)
        if keep_alive:
            self._remember(self._status, self._head, whole)

    # -- internals

    def _parse(self, data: bytes) -> None:
        """Feed the parser; record its error, or a switch of the protocol, as a violation."""
        self._fed_bytes += len(data)
        if not self._head_done:
            self._raw = self._with_more(data) if self._raw else data
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._violation = self._violation or "the response switches protocols"
        except HttpParserError as error:
            self._violation = self._violation or f"the response is not HTTP/1.1: {error}"

    def _wait_for_more(self) -> None:
        """Record the time at which bytes of an incomplete response have arrived; receive a large body directly."""
        self.heard_at = self._flusher.seconds()
        if self._announced is None:
            return
        (length, keep_alive), self._announced = self._announced, None
        if self._write_to_socket is None or not is_direct(length, self._body_bytes):
            return
        on_whole = partial(self._answer_directly, keep_alive=keep_alive)
        try:
            self._direct = DirectBody(self.transport, length, joined(self._body), self._heard_directly, on_whole)
        except MemoryError:
            return
        self._body = []

    def _heard_directly(self, count: int) -> None:
        self._fed_bytes += count
        self.heard_at = self._flusher.seconds()

    def _answer_directly(self, body: bytes, *, keep_alive: bool) -> None:
        """End the exchange with a body that `DirectBody` has received."""
        self._direct = None
        self._parser = HttpResponseParser(self)  # the old one waits for the body
        exchange, self._exchange = self._exchange, None
        try:
            # As in `dataReceived`, where a shared method would be one more call for each response.
            if keep_alive and self._rest is None:
                self._owner.connection_free(self)
            else:
                self._end_after_answer()
        finally:
            if exchange is not None:
                exchange.answered(self._status, self._head, body)

    def _receive_body(self, data: bytes, sink: BodySink) -> None:
        """Parse bytes of a streamed body.

        The bytes are usually one piece, such as a chunk with one event. For one piece there is a fast path, because a
        stream has many pieces.
        """
        self._parse(data)
        body = self._body
        # Framing of at most `max_head_bytes` cannot exceed the bound of `_overhead_is_unbounded`.
        has_little_framing = self._fed_bytes - self._body_bytes <= self._max_head
        if len(body) == 1 and self._answer is None and not self._violation and has_little_framing:
            sink.feed(body.pop())  # type: ignore[arg-type]  # a first piece is stored as bytes
        else:
            self._pass_on_body()

    def _remember(self, status: int, head: bytes, body: bytes) -> None:
        """Store the head of a complete response, so that an equal head need not be parsed again.

        Most responses of a service differ in their bodies only. The parser has accepted this head, and every rule of
        this module that a response can break depends on the head, on its length, and on the bytes after it. So a
        response that begins with the same bytes and has the same total length is acceptable too, and the bytes after
        the head are its body. (`docs/performance` has the figures.)
        """
        start = head + b"\r\n"
        # The lengths differ if the body was chunked, or if an interim response came first.
        is_plain = status == OK_STATUS and body and self._fed_bytes == len(start) + len(body)
        if is_plain and len(start) <= _USUAL_HEAD_BYTES:
            self._usual_head, self._usual_start, self._usual_bytes = head, start, self._fed_bytes
        else:
            self._usual_bytes = 0

    def _check_interim(self, status: int, rest: bytes) -> None:
        """Skip a 1xx response (RFC 9110 §15.2), and continue with the next head.

        The status 101, an invalid status, and more than 16 such responses are violations.
        """
        self._interim += 1
        self._raw = rest
        if status == _SWITCHING_PROTOCOLS or not _FIRST_STATUS <= status <= _LAST_STATUS:
            self._violation = f"the response has the status {status}"
        elif self._interim > _MAX_INTERIM:
            self._violation = f"more than {_MAX_INTERIM} interim responses"

    def _is_taken_over(self, status: int, *, has_more: bool) -> bool:
        """Call the exchange's `on_head`; return whether the body has a sink or is ignored."""
        on_head = self._exchange.on_head if self._exchange is not None else None
        if on_head is None:
            return False
        found = on_head(self, status, self._head)
        if found is None:
            return False
        if found is NoBody:
            self._end_at_head(has_more=has_more)
            return True
        self._sink = found  # type: ignore[assignment]  # the only other type
        self._is_new = True
        return True

    def _end_at_head(self, *, has_more: bool) -> None:
        """Finish a response that has no body, whatever its head announces."""
        self._answer = (self._status, self._head, b"", self._parser.should_keep_alive())
        # A new parser is needed, because the old one expects the body that the head announces. The old parser also
        # receives the rest of these bytes.
        self._parser = HttpResponseParser(self)
        if has_more:
            self._violation = "a body follows a response that has none"

    def _pass_on_body(self) -> None:
        """Pass collected pieces of the body to the sink, and report its end."""
        sink, answer = self._sink, self._answer
        if sink is None:
            return
        if self._is_new:
            self._is_new = False
            sink.open()
        pieces, self._body = self._body, []
        # When the response is complete, later pieces belong to another response, which was not requested.
        piece = joined(pieces) if answer is None else answer[2]
        if piece and self._sink is not None:
            sink.feed(piece)
        if self._sink is None:
            # The reader has closed the stream.
            return
        if answer is None and (self._violation or self._overhead_is_unbounded()):
            self._sink = self._exchange = None
            self._abort()
            sink.broke(
                Outcome(AttemptStatus.VIOLATION, detail=self._violation or "the response's framing is too large")
            )
        elif answer is not None:
            self._sink = self._exchange = self._answer = None
            try:
                # The connection is made free before `finished`, because the reader may send its next request on it
                # immediately.
                if answer[3] and self._rest is None and not self._violation:
                    self._owner.connection_free(self)
                else:
                    self._end_after_answer()
            finally:
                # The stream must end even if the owner raises.
                sink.finished()

    def _end_after_answer(self) -> None:
        """Close a connection that cannot be kept after a complete response."""
        if self._violation or self._rest is not None:
            # If the request is not completely written, writing the rest would delay the close.
            self._abort()
        else:
            self.transport.loseConnection()

    def _overhead_is_unbounded(self) -> bool:
        """Return whether header lines, trailers and chunk extensions exceed their bound.

        The parser does not bound them, and has no callback for chunk extensions and trailers.
        """
        overhead = self._fed_bytes - self._body_bytes
        return overhead > 2 * self._max_head + _CHUNK_OVERHEAD_BYTES * (self._more_pieces + 1)

    def _write_to_transport(self, data: bytes) -> int:
        self.transport.write(data)
        return len(data)

    def _write_rest(self, head: bytes, body: bytes, written: int) -> None:
        """Register as a producer of the transport, to write what the socket has not accepted."""
        at = written - len(head)
        # `registerProducer` calls `resumeProducing` immediately, which would be too early, because the socket is full.
        self.transport.registerProducer(self, False)
        self._rest, self._rest_at = (body, at) if at >= 0 else (head + body, written)
        if self._write_to_socket is None:
            self.resumeProducing()
        else:
            self.transport.startWriting()

    def _write_by_transport(self, rest: bytes) -> None:
        piece = rest[self._rest_at : self._rest_at + _NEXT_WRITE_BYTES]
        self._rest_at += len(piece)
        self.transport.write(piece)

    def _write_directly(self, rest: bytes, write: Callable[[memoryview], int]) -> None:
        """Write to the socket as much as it accepts.

        The transport's buffer would copy each part three times, and send at most 128 KiB at a time.
        """
        try:
            self._rest_at += write(memoryview(rest)[self._rest_at :])
        except (OSError, MemoryError) as error:
            if getattr(error, "errno", None) not in _SOCKET_IS_FULL:
                # The transport gets the same error, and reports the loss of the connection.
                self._write_by_transport(rest)
                return
        if self._rest_at == len(rest):
            self.resumeProducing()
        else:
            self.transport.startWriting()

    def _with_more(self, data: bytes) -> bytearray:
        """Append bytes to the raw head, which is a growing buffer because a head may arrive byte by byte."""
        raw = self._raw if isinstance(self._raw, bytearray) else bytearray(self._raw)
        raw += data
        return raw

    def _abort(self) -> None:
        # Twisted reports the loss one turn later. A request that gets this connection before that must not be sent.
        self._has_input = _is_unusable
        self.transport.abortConnection()

    def _violate(self, detail: str) -> None:
        exchange, self._exchange = self._exchange, None
        self._abort()
        if exchange is not None:
            exchange.broke(Outcome(AttemptStatus.VIOLATION, detail=detail))

    @property
    def _was_kept(self) -> bool:
        """Whether the connection was idle before this request, so that the server may have closed it meanwhile."""
        return self.used > 1 or self.idle_since > NEVER

    def _loss(self, reason: Failure) -> Outcome:
        if self._unsent is not None:
            if self._shortage:
                return Outcome(AttemptStatus.LOCAL_RESOURCE, detail=self._shortage)
            # A new connection that is closed before the request is sent counts as a connection that could not be
            # opened.
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
    # The class names of Twisted's errors are specific, but OpenSSL has one class for all errors.
    return type(error).__name__ if isinstance(error, ConnectionClosed) else f"{type(error).__name__}: {error}"
