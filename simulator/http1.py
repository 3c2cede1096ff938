"""A small HTTP/1.1 server on httptools, used by instances, control plane and admin API.

Requests of a connection are answered in order, one at a time. Pipelined requests wait. If the client sends bytes that
are not HTTP/1.1, the error response waits for the responses before it.

A handler returns a `Response`, a `StreamResponse` whose body is produced while it is sent, a `Wire` for a delivery in
pieces, a Deferred of one of these, or `HANG` for no response at all. The server is independent of routes and faults.
"""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection as SocketTransport
from twisted.logger import Logger

from simulator.delivery import Ending, IdleEnd, Pacer, Wire
from simulator.messages import HANG, Answer, ReceivedRequest, Response, Silence, render
from simulator.request_reader import RequestReader
from simulator.stream_sender import StreamSender
from simulator.streaming import StreamResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

__all__ = ["HANG", "Answer", "ReceivedRequest", "Response", "Server", "ServerConnection", "Silence", "render"]

_log = Logger(namespace="simulator.http1")

MAX_WAITING = 64
MAX_WAITING_BYTES = 16 * 2**20
"""Limits of the pipelined requests that wait: their number, and the total bytes of their bodies.

A connection is not read while it has reached a limit.
"""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


if TYPE_CHECKING:
    Handler = Callable[[ReceivedRequest], Answer | Deferred[Answer]]


class ServerConnection(Protocol):
    """One connection of a client."""

    transport: Any

    def __init__(self, server: Server) -> None:
        self.server = server
        self._reader = RequestReader(self)
        self._waiting: deque[ReceivedRequest | Response] = deque()
        self._waiting_bytes = 0
        self._answering: Deferred[Answer] | None = None
        self._idle_end: IdleEnd | None = None
        self._idle_timer: Any = None
        self._doom: Any = None
        self._write_to_socket: Callable[[bytes], int] | None = None
        self._receive: Callable[[bytes], None] | None = None
        self._is_busy = False
        self._is_open = False
        self._is_deaf = False
        self._is_paused = False
        self.requests = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received, waits, or is being answered."""
        return not (self._is_busy or self._waiting or self._reader.has_begun)

    @property
    def peer(self) -> str:
        """Address of the client, as `host:port`."""
        peer: Any = self.transport.getPeer()
        return f"{peer.host}:{peer.port}"

    def reset(self) -> None:
        """Close the connection with an RST."""
        self._is_open = False
        self.transport.abortConnection()

    def close(self) -> None:
        """Close the connection with a FIN; bytes that still arrive are not read."""
        self._is_open = False
        self.transport.loseConnection()

    def reset_after(self, seconds: float) -> None:
        """Close the connection with an RST after `seconds`, even if requests are received or answered before that."""
        if seconds <= 0:
            self.reset()
        elif self._doom is None:
            self._doom = self.server.clock.callLater(seconds, self._meet_doom)

    # -- IProtocol

    def connectionMade(self) -> None:
        """Register the new connection (`IProtocol`)."""
        self._is_open = True
        self.transport.setTcpNoDelay(True)
        if isinstance(self.transport, SocketTransport):
            self._write_to_socket = self.transport.getHandle().send
        self.server.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Feed received bytes to the reader (`IProtocol`)."""
        if not self._is_open or self._is_deaf or (self._idle_end is not None and self._is_ended_by_a_request()):
            return
        if self._receive is not None:
            self._receive(data)
            return
        problem = self._reader.feed(data)
        if problem is not None and not self._is_deaf:
            self._is_deaf = True
            self._waiting.append(problem)
            if not self._is_busy:
                self._serve_next()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Cancel timers and the request in progress, because the connection is lost (`IProtocol`)."""
        self._is_open = False
        self._receive = None
        self._waiting.clear()
        self._forget_idle_end()
        if self._doom is not None:
            self._doom.cancel()
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()
        self.server.closed(self)
        self._reader.close()

    # -- called by the reader

    def head_came(self, method: str, target: str) -> None:
        """Handle a complete head, and send `100 Continue` if the client waits for this response."""
        if self._reader.wants_continue:
            self._write_continue()
        if self.server.on_head is not None:
            self.server.on_head(self, method, target)

    def request_came(self, request: ReceivedRequest) -> None:
        """Handle a complete request."""
        self._is_deaf = not request.keep
        self._waiting.append(request)
        self._waiting_bytes += len(request.body)
        if not self._is_busy:
            self._serve_next()
        elif self._is_full and not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()

    # -- responses

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES

    def _serve_next(self) -> None:
        while self._waiting and not self._is_busy and self._is_open:
            request = self._waiting.popleft()
            if isinstance(request, Response):
                self._write(render(request, keep=False))
                self.close()
                return
            self._waiting_bytes -= len(request.body)
            if self._is_paused and not self._is_full:
                self._is_paused = False
                self.transport.resumeProducing()
            self._is_busy = True
            self.requests += 1
            answer = self.server.handle(request)
            if isinstance(answer, Deferred):
                self._answering = answer
                answer.addCallbacks(self._answer, self._failed, callbackArgs=(request,), errbackArgs=(request,))
            else:
                self._answer(answer, request)
        if self._reader.wants_continue:
            self._write_continue()

    def _write_continue(self) -> None:
        """Send `100 Continue`, unless an earlier request is unanswered.

        Otherwise the client would take `100 Continue` for the response to the earlier request.
        """
        if self._is_open and not self._is_busy and not self._waiting:
            self._reader.wants_continue = False
            self._write(_CONTINUE)

    def _answer(self, answer: Answer, request: ReceivedRequest) -> None:
        self._answering = None
        if isinstance(answer, StreamResponse):
            self._stream(answer, request)
            return
        if not self._is_open or isinstance(answer, Silence):
            return
        if isinstance(answer, Wire):
            Pacer(self.server.clock, self.transport, answer, lambda: self._end(answer.ending, answer.idle_end)).start()
            return
        self._is_busy = False
        keep = request.keep and not answer.close
        self._write(render(answer, keep=keep, request=request))
        if not keep:
            self.close()
        elif self._waiting or self._reader.wants_continue:
            self._serve_next()

    def _stream(self, stream: StreamResponse, request: ReceivedRequest) -> None:
        if not self._is_open:
            stream.discard()
            return
        self._receive = stream.receive
        # A direct write would overtake bytes of the stream in the transport's buffer.
        self._write_to_socket = None
        StreamSender(
            self.server.clock,
            self.transport,
            stream,
            request,
            keep=request.keep and not stream.close,
            done=lambda ending: self._end(ending, stream.plan.idle_end),
        ).start()

    def _write(self, data: bytes) -> None:
        """Write directly to the socket, which saves a turn of the reactor; the transport sends the rest."""
        write_to_socket = self._write_to_socket
        if write_to_socket is not None:
            try:
                written = write_to_socket(data)
            except OSError:
                written = 0
            if written == len(data):
                return
            # From now on the transport's buffer may have bytes, which a direct write would overtake.
            self._write_to_socket = None
            data = data[written:]
        self.transport.write(data)

    def _end(self, ending: Ending, idle_end: IdleEnd | None) -> None:
        """Handle the end of a wire or a stream."""
        if ending is Ending.RESET:
            self.reset()
        elif ending is Ending.CLOSE:
            self.close()
        elif ending is Ending.KEEP:
            self._is_busy = False
            self._idle_end = idle_end
            if idle_end is not None and not idle_end.at_next_request:
                self._idle_timer = self.server.clock.callLater(idle_end.after_s, self._end_idle)
            self._serve_next()

    def _is_ended_by_a_request(self) -> bool:
        """Close the connection if its `IdleEnd` has `at_next_request`, and cancel the `IdleEnd` otherwise.

        Returns:
            Whether the connection was closed.
        """
        ends = self._idle_end is not None and self._idle_end.at_next_request
        if ends:
            self._end_idle()
        self._forget_idle_end()
        return ends

    def _end_idle(self) -> None:
        idle_end, self._idle_timer = self._idle_end, None
        if idle_end is not None and idle_end.reset:
            self.reset()
        else:
            self.close()

    def _meet_doom(self) -> None:
        self._doom = None
        self.reset()

    def _forget_idle_end(self) -> None:
        self._idle_end = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _failed(self, failure: Failure, request: ReceivedRequest) -> None:
        if self._is_open:
            _log.failure("a request handler raised an exception, which is a bug", failure)
            why = b"the simulator has a bug; see its log"
            self._answer(Response(HTTPStatus.INTERNAL_SERVER_ERROR, why, close=True), request)


class Server(Factory):
    """Accepts connections, and lists the open ones.

    Args:
        handler: Answers requests.
        clock: Clock for responses with pauses.

    Attributes:
        on_open: Called with each new connection; `None` for no call.
        on_head: Called with a connection, a method and a target when a request's head is complete; `None` for no call.
    """

    noisy = False

    def __init__(self, handler: Handler, clock: Any) -> None:
        self.handle = handler
        self.clock = clock
        self.on_open: Callable[[ServerConnection], None] | None = None
        self.on_head: Callable[[ServerConnection, str, str], None] | None = None
        self.connections: dict[ServerConnection, None] = {}
        self._emptied: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:  # noqa: ARG002
        """Build the connection of a client (`IProtocolFactory`)."""
        return ServerConnection(self)

    def opened(self, connection: ServerConnection) -> None:
        """Register an open connection."""
        self.connections[connection] = None
        if self.on_open is not None:
            self.on_open(connection)

    def closed(self, connection: ServerConnection) -> None:
        """Remove a closed connection."""
        self.connections.pop(connection, None)
        if not self.connections:
            emptied, self._emptied = self._emptied, []
            for waiter in emptied:
                waiter.callback(None)

    def reset_connections(self) -> None:
        """Close every connection with an RST."""
        for connection in list(self.connections):
            connection.reset()

    def close_idle(self) -> None:
        """Close the idle connections (`ServerConnection.is_idle`)."""
        for connection in list(self.connections):
            if connection.is_idle:
                connection.close()

    def when_empty(self) -> Deferred[None]:
        """Return a Deferred that fires when no connection is open."""
        waiter: Deferred[None] = Deferred()
        if self.connections:
            self._emptied.append(waiter)
        else:
            waiter.callback(None)
        return waiter
