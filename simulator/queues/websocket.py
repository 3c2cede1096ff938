"""The server side of a WebSocket (RFC 6455), based on wsproto: handshake, encoding and decoding. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from simulator.queues.wire import QueueRequestError

if TYPE_CHECKING:
    from simulator.messages import ReceivedRequest

NORMAL, GOING_AWAY = 1000, 1001
"""Close codes (RFC 6455 §7.4.1)."""
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The constant from which `Sec-WebSocket-Accept` is computed (RFC 6455 §1.3)."""
_KEY_BYTES = 16


def offers_websocket(request: ReceivedRequest) -> bool:
    """Return whether a request offers to change the protocol of its connection to WebSocket."""
    return request.headers.get("upgrade", "").lower() == "websocket"


def accept_headers(request: ReceivedRequest) -> dict[str, str]:
    """Return the header fields that accept the opening handshake of a request.

    Raises:
        QueueRequestError: The handshake is invalid, or not of version 13.
    """
    if request.headers.get("sec-websocket-version") != "13":
        raise QueueRequestError(426, "Sec-WebSocket-Version: expected 13")
    key = request.headers.get("sec-websocket-key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        raise QueueRequestError(400, f"Sec-WebSocket-Key: expected 16 bytes in base64, got {key[:60]!r}")
    digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    return {"Sec-WebSocket-Accept": base64.b64encode(digest).decode()}


class WebSocket:
    """The server side of an open WebSocket.

    Attributes:
        pong: Pong for the last ping, until the caller takes it; earlier pings need no pong (RFC 6455 §5.5.3).
        close_reply: Answer to the client's Close frame or protocol error; empty if the server has sent a Close frame
            before; `None` while the client has sent neither.
        has_closed: Whether the server has sent a Close frame first.
    """

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self.pong = b""
        self.close_reply: bytes | None = None
        self.has_closed = False

    def receive(self, data: bytes) -> None:
        """Read the client's bytes; messages are ignored, since a watch accepts no messages."""
        if self.close_reply is not None:
            return
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                if isinstance(event, Ping):
                    self.pong = self._connection.send(event.response())
                elif isinstance(event, CloseConnection):
                    self.close_reply = b"" if self.has_closed else self._connection.send(event.response())
        except RemoteProtocolError as error:
            hint = error.event_hint
            self.close_reply = b"" if self.has_closed or hint is None else self._connection.send(hint)
        except LocalProtocolError:  # a ping after the server's Close frame gets no pong
            return

    def message(self, data: bytes) -> bytes:
        """Encode a binary message."""
        return self._connection.send(BytesMessage(data=data))

    def close(self, code: int) -> bytes:
        """Encode a Close frame; the client answers with a Close frame."""
        self.has_closed = True
        return self._connection.send(CloseConnection(code=code))
