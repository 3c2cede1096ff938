"""A WebSocket client connection based on wsproto (RFC 6455): upgrade, messages, pings, and close.

The connection reports its opening, its binary messages, and its end (once) to its owner, which reconnects if necessary.
Messages of one frame are parsed by `websocket_frames` instead of wsproto.

A service can send thousands of tiny frames in one TCP segment, and may stop reading. So the number of frames that are
handled in a turn of the reactor is bounded, and no ping or pong is written while the socket accepts no bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError
from zope.interface import implementer

from eas_tw.net.pieces import add_piece, joined
from eas_tw.net.websocket_frames import FrameSplitter
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure
    from wsproto.events import Event

    from eas_tw.net.http1 import Transport
    from eas_tw.net.pieces import Pieces

NORMAL_CLOSURE = 1000
"""The status code of an intended close (RFC 6455 §7.4.1)."""
PING_EVERY_S = 2.0
MAX_MISSING_PONGS = 3
_CLOSE_WITHIN_S = 1.0
"""Maximum wait in seconds for the peer's Close frame, and then for the close of the socket."""
_MOST_ERROR_BYTES = 64 * 2**10
_REFUSAL_WITHIN_S = 1.0
"""Maximum wait in seconds for the body of an error response. A response without an error ends the upgrade at its head.

The body of a 200 may have no end: a proxy that removes the offer of the upgrade makes the request a watch over HTTP.
"""
_FIRST_FINAL, _FIRST_ERROR = 200, 300
_MAX_INTERIM = 16
"""Maximum number of 1xx responses before the response to the upgrade, as on other connections (`http1`)."""
_MOST_FRAMES = 500
"""Number of frames after which the rest is handled in the next turn of the reactor, about 10 ms of work."""


class WebSocketOwner(Protocol):
    """Receives the reports of a connection."""

    def websocket_opened(self) -> None:
        """Report that the service has accepted the upgrade."""

    def websocket_messages(self, messages: Sequence[bytes]) -> None:
        """Report one or more binary messages that were received together."""

    def websocket_ended(self, outcome: Outcome, body: bytes, close_code: int | None) -> None:
        """Report the end of the connection; called once.

        Args:
            outcome: How the connection ended:

                1. `ANSWERED`, after a Close frame of either peer.
                2. An outcome with the status of the response that rejected the upgrade.
                3. `CANCELLED`, after `abort`, or after `close` before the upgrade.
                4. Otherwise the failure.
            body: The body of the response that rejected the upgrade; otherwise empty.
            close_code: The code of the Close that the service sent before this client did; `None` if there was none.
        """

    def socket_lost(self) -> None:
        """Report that the socket is closed; called once, after `websocket_ended`."""


@implementer(IPushProducer)
class WebSocketConnection(TwistedProtocol):
    """One WebSocket connection.

    Args:
        clock: The reactor, for timers.
        owner: The object that receives the reports of the connection.
        host: The value of the Host header.
        target: The path and query of the upgrade request.
        headers: The names and values of further header fields.
        max_message_bytes: The maximum size of a message.
        open_within_s: Maximum time of the upgrade in seconds.

    Attributes:
        has_exceeded_limit: Whether the connection ended because of a message of more than `max_message_bytes`.
    """

    transport: Transport

    def __init__(
        self,
        clock: IReactorTime,
        owner: WebSocketOwner,
        host: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        *,
        max_message_bytes: int,
        open_within_s: float,
    ) -> None:
        self._clock = clock
        self._owner = owner
        self._request = Request(
            host=host,
            target=target,
            extra_headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers],
        )
        self._max_message_bytes = max_message_bytes
        self._open_within_s = open_within_s
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._splitter = FrameSplitter(max_message_bytes)
        self._pieces: Pieces = []
        self._received_bytes = 0
        self._refusal: list[bytes] = []
        self._refused_with = 0
        self._interim = 0
        self._is_open = self._is_over = self._is_closing = self._is_paused = False
        self._is_behind = False  # whether frames are left for the next turn
        self._is_socket_full = False
        self._next_turn: IDelayedCall | None = None
        self._missing_pongs = 0
        self.has_exceeded_limit = False
        self._timer: IDelayedCall | None = None

    def __repr__(self) -> str:
        state = "over" if self._is_over else "closing" if self._is_closing else "open" if self._is_open else "opening"
        return f"<WebSocketConnection {state}{' paused' if self._is_paused else ''}>"

    # -- called by the owner

    @property
    def is_connected(self) -> bool:
        """Whether the socket has been connected, even if it is closed by now."""
        return getattr(self, "transport", None) is not None

    @property
    def is_over(self) -> bool:
        """Whether the end of the connection has been reported to the owner."""
        return self._is_over

    def pause(self) -> None:
        """Stop reading from the socket until `resume`; missing pongs do not count meanwhile."""
        if not self._is_paused and not self._is_over:
            self._is_paused = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Continue reading from the socket."""
        if self._is_paused:
            self._is_paused = False
            self._missing_pongs = 0
            if not (self._is_over or self._is_behind):
                self.transport.resumeProducing()

    def close(self) -> None:
        """Send a Close frame (code 1000), and close the socket when the peer has sent its own, or after 1 s.

        Before the upgrade, close the socket immediately.
        """
        if self._is_over or self._is_closing:
            return
        if not self._is_open:
            self._end(Outcome(AttemptStatus.CANCELLED))
            return
        self._is_closing = True
        self.resume()  # the peer's answer must be read
        self._send(CloseConnection(code=NORMAL_CLOSURE))
        self._set_timer(_CLOSE_WITHIN_S, self._close_timed_out)

    def abort(self) -> None:
        """Close the socket immediately, without a Close frame."""
        self._end(Outcome(AttemptStatus.CANCELLED))

    # -- the socket

    def connectionMade(self) -> None:
        """Send the upgrade request."""
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self._set_timer(self._open_within_s, self._open_timed_out)
        self._send(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Handle received bytes."""
        if self._is_over:
            return  # bytes after the end are ignored
        if not self._is_open:
            data = self._read_response(data)
        self._missing_pongs = 0  # any bytes show that the service is alive
        self._splitter.feed(data)
        if not self._is_behind:
            self._read_frames()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the end, if it has not been reported yet, and the loss of the socket."""
        if self._is_behind:
            self._read_frames(math.inf)
        if not self._is_over:
            if self._is_closing:
                outcome = ANSWERED
            elif self._is_open:
                outcome = Outcome(AttemptStatus.RESPONSE_TRUNCATED, detail=_text(reason))
            elif self._refused_with:
                outcome = Outcome(AttemptStatus.STATUS, self._refused_with)
            else:
                outcome = Outcome(AttemptStatus.LOST, detail=_text(reason))
            self._end(outcome)
        self._stop_timer()
        self._owner.socket_lost()

    def pauseProducing(self) -> None:
        """Write no pings and pongs, because the socket accepts no bytes (`IPushProducer`)."""
        self._is_socket_full = True

    def resumeProducing(self) -> None:
        """Write pings and pongs again (`IPushProducer`)."""
        self._is_socket_full = False

    def stopProducing(self) -> None:
        """Do nothing, because `connectionLost` reports the end (`IPushProducer`)."""

    # -- internals

    def _read_frames(self, most: float = _MOST_FRAMES) -> None:
        """Handle received frames; after `most` frames, stop reading from the socket, and continue in the next turn."""
        self._stop_next_turn()
        left = most
        while left > 0:
            messages, rest = self._splitter.split(left)
            left -= len(messages)
            if messages:
                self._owner.websocket_messages(messages)
            if rest and not self._is_over:
                left -= self._parse(rest)
            if self._is_over:
                return
            if not rest and left > 0:
                break
        was_behind, self._is_behind = self._is_behind, left <= 0
        if self._is_behind:
            self._next_turn = self._clock.callLater(0, self._read_frames)
            self.transport.pauseProducing()
        elif was_behind and not self._is_paused:
            self.transport.resumeProducing()

    def _read_response(self, data: bytes) -> bytes:
        """Read the response to the upgrade, and return the bytes after its head if the head accepts the upgrade.

        wsproto receives the head line by line. If wsproto received all bytes, it would also parse the frames after the
        head, which the `FrameSplitter` must parse.
        """
        at = 0
        while at < len(data) and not (self._is_open or self._refused_with or self._is_over):
            end = data.find(b"\n", at) + 1 or len(data)
            self._parse(data[at:end])
            at = end
        if self._is_open:
            return data[at:]
        if at < len(data) and not self._is_over:
            self._parse(data[at:])  # the body of a response that rejects the upgrade
        return b""

    def _parse(self, data: bytes) -> int:
        """Parse bytes with wsproto, and handle its events; return their number."""
        count = 0
        for count, event in enumerate(self._events(data), 1):  # noqa: B007  the number of the last event is returned
            # Text messages are ignored, as in the official Java SDK: every frame of a queue is binary.
            handle = _HANDLERS.get(type(event))
            if handle is not None:
                handle(self, event)
            if self._is_over:
                break
        return count

    def _events(self, data: bytes) -> Iterator[Event]:
        try:
            self._websocket.receive_data(data)
            yield from self._websocket.events()
        except (RemoteProtocolError, LocalProtocolError, UnicodeDecodeError) as error:
            # UnicodeDecodeError: wsproto decodes some fields of the response, such as Connection, as ASCII.
            self._end(Outcome(AttemptStatus.VIOLATION, detail=f"not WebSocket: {error}"))

    def _got_message(self, event: BytesMessage) -> None:
        self._take(bytes(event.data), is_whole=event.message_finished)

    def _got_ping(self, event: Ping) -> None:
        if not (self._is_closing or self._is_socket_full):
            self._send(event.response())

    def _got_acceptance(self, _: AcceptConnection) -> None:
        self._is_open = True
        self._set_timer(PING_EVERY_S, self._ping)
        self._owner.websocket_opened()

    def _got_refusal(self, event: RejectConnection) -> None:
        status = event.status_code
        if status < _FIRST_FINAL:
            # wsproto reports a 1xx response as a refusal, but it can still parse the final response (RFC 9110 §15.2).
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                self._end(Outcome(AttemptStatus.VIOLATION, detail=f"more than {_MAX_INTERIM} interim responses"))
            return
        self._refused_with = status
        if status < _FIRST_ERROR:
            self._end_refused()
        else:
            self._set_timer(_REFUSAL_WITHIN_S, self._end_refused)

    def _got_refusal_body(self, event: RejectData) -> None:
        self._refusal.append(bytes(event.data))
        self._received_bytes += len(event.data)
        if event.body_finished or self._received_bytes > _MOST_ERROR_BYTES:
            self._end_refused()

    def _end_refused(self) -> None:
        self._end(Outcome(AttemptStatus.STATUS, self._refused_with))

    def _take(self, piece: bytes, *, is_whole: bool) -> None:
        add_piece(self._pieces, piece)
        self._received_bytes += len(piece)
        if self._received_bytes > self._max_message_bytes:
            self.has_exceeded_limit = True
            limit = f"a message has more than {self._max_message_bytes} bytes (max_response_bytes)"
            self._end(Outcome(AttemptStatus.VIOLATION, detail=limit))
        elif is_whole:
            data = joined(self._pieces)
            self._pieces, self._received_bytes = [], 0
            self._owner.websocket_messages((data,))

    def _got_close(self, event: CloseConnection) -> None:
        if self._is_closing:
            self._end(ANSWERED)
            return
        code = int(event.code)
        if code == NORMAL_CLOSURE or self._websocket.state.name == "REMOTE_CLOSING":
            self._send(event.response())
            self._end(ANSWERED, close_code=code)
        else:  # wsproto reports bytes that are not a valid frame as a Close, too
            self._end(Outcome(AttemptStatus.VIOLATION, detail=f"not WebSocket: {event.reason}"))

    def _ping(self) -> None:
        self._timer = None
        if not self._is_paused:  # while paused, pongs are not read
            if self._missing_pongs >= MAX_MISSING_PONGS:
                silent_s = PING_EVERY_S * MAX_MISSING_PONGS
                self._end(
                    Outcome(AttemptStatus.UNRESPONSIVE, detail=f"nothing came for {silent_s:g} s, no pong either")
                )
                return
            self._missing_pongs += 1
        if not self._is_socket_full:
            self._send(Ping(b"ping"))
        self._set_timer(PING_EVERY_S, self._ping)

    def _open_timed_out(self) -> None:
        self._timer = None
        self._end(Outcome(AttemptStatus.ATTEMPT_TIMEOUT, detail=f"no upgrade within {self._open_within_s:g} s"))

    def _abort_socket(self) -> None:
        self._timer = None
        self.transport.abortConnection()

    def _close_timed_out(self) -> None:
        self._timer = None
        self._end(ANSWERED)

    def _set_timer(self, after_s: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(after_s, then)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _stop_next_turn(self) -> None:
        timer, self._next_turn = self._next_turn, None
        if timer is not None and timer.active():
            timer.cancel()

    def _send(self, event: Event) -> None:
        self.transport.write(self._websocket.send(event))

    def _end(self, outcome: Outcome, close_code: int | None = None) -> None:
        """Report the end once, and close the socket."""
        if self._is_over:
            return
        self._is_over = True
        self._stop_timer()
        self._stop_next_turn()
        if self._is_paused or self._is_behind:
            self._is_paused = self._is_behind = False
            self.transport.resumeProducing()  # a paused transport does not detect the close of its socket
        self.transport.unregisterProducer()  # a registered producer could delay the close
        if outcome is ANSWERED:
            # The timer is needed for TLS: closing a TLS connection waits for the peer, which may not respond.
            self._set_timer(_CLOSE_WITHIN_S, self._abort_socket)
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()
        self._owner.websocket_ended(outcome, b"".join(self._refusal), close_code)


_HANDLERS: dict[type[Event], Callable[[WebSocketConnection, Any], None]] = {
    BytesMessage: WebSocketConnection._got_message,  # noqa: SLF001  a table of the class's own methods
    Ping: WebSocketConnection._got_ping,  # noqa: SLF001
    AcceptConnection: WebSocketConnection._got_acceptance,  # noqa: SLF001
    CloseConnection: WebSocketConnection._got_close,  # noqa: SLF001
    RejectConnection: WebSocketConnection._got_refusal,  # noqa: SLF001
    RejectData: WebSocketConnection._got_refusal_body,  # noqa: SLF001
}


def _text(reason: Failure) -> str:
    return str(reason.value) or type(reason.value).__name__
