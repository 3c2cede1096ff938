"""A raw client that sends and receives bytes, with a minimum of HTTP."""

from __future__ import annotations

import socket
import time  # noqa: TID251  how long an answer takes is what is tested
from typing import TYPE_CHECKING, Any, Self

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

FIN, RST, SILENCE = "fin", "rst", "silence"


def request(
    body: bytes = b"", service: str = "echo", *, path: str = "", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return the bytes of a prediction request."""
    lines = [f"POST /api/predict/{service}{path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Raw:
    """A TCP connection.

    Attributes:
        received: The received bytes, without the responses that `response` has returned.
        took_s: Seconds from the last `send` to the end of the last `read` or `response`.
    """

    def __init__(self, instance: Mapping[str, Any]) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_S)
        self._is_reset = False
        try:
            self._socket.connect((instance["ip"], instance["port"]))
        except ConnectionRefusedError:
            self._socket.close()
            raise
        except ConnectionResetError:
            self._is_reset = True  # the peer sent RST while this client connected
        else:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self._sent_at = 0.0
        self.took_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> Self:
        self._sent_at = time.monotonic()
        self._socket.sendall(data)
        return self

    def read(self, *, wait_s: float = PATIENCE_S, until: int | bytes | None = None) -> str:
        """Read until the connection ends, no bytes arrive for `wait_s`, or `until` is reached.

        Args:
            wait_s: Seconds without bytes after which reading stops. Bytes may still arrive later, so first read the
                expected bytes with `until`.
            until: A number of bytes, or bytes that must be contained; `None` for no such limit.

        Returns:
            Why reading stopped: `FIN`, `RST`, `SILENCE`, or "" when `until` was reached.
        """
        if self._is_reset:
            return RST
        self._socket.settimeout(wait_s)
        try:
            while not self._has(until):
                data = self._socket.recv(2**16)
                if not data:
                    return FIN
                self.received += data
        except TimeoutError:
            return SILENCE
        except ConnectionResetError:
            return RST
        finally:
            self.took_s = time.monotonic() - self._sent_at
        return ""

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Read one complete and valid response. The connection can be used for further requests."""
        self._socket.settimeout(PATIENCE_S)
        while b"\r\n\r\n" not in self.received:
            self._more()
        head, _, _ = self.received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = len(head) + 4 + int(headers["content-length"])
        while len(self.received) < size:
            self._more()
        whole, self.received = self.received[:size], self.received[size:]
        self.took_s = time.monotonic() - self._sent_at
        return int(status_line.split(" ")[1]), headers, whole[len(head) + 4 :]

    def _has(self, until: int | bytes | None) -> bool:
        if isinstance(until, bytes):
            return until in self.received
        return until is not None and len(self.received) >= until

    def _more(self) -> None:
        data = self._socket.recv(2**16)
        assert data, f"the connection ended after {self.received!r}"
        self.received += data

    @property
    def head(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]
