"""Functions of a test that answer requests to a simulated service: a small HTTP server in the test's process.

The simulator is another process and forwards the requests here, so that a function may be a closure and look at the
test's own objects. It runs in a thread of its own.
"""

from __future__ import annotations

import base64
import json
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from eas_tw.testing.answers import Received, as_response

if TYPE_CHECKING:
    from collections.abc import Callable


class CallbackServer:
    """Serves functions on 127.0.0.1 until it is closed."""

    def __init__(self) -> None:
        self._functions: list[Callable[[Received], Any]] = []
        functions = self._functions

        class Handler(_Handler):
            served = functions

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def add(self, function: Callable[[Received], Any]) -> str:
        """Serve one more function.

        Returns:
            The URL at which it answers.
        """
        self._functions.append(function)
        return f"http://127.0.0.1:{self._server.server_address[1]}/{len(self._functions) - 1}"

    def close(self) -> None:
        """Stop serving; returns when the thread has ended."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: list[Callable[[Received], Any]]

    def handle_one_request(self) -> None:
        """Answer one request of any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        _, number, *below = self.path.partition("?")[0].split("/")
        query = self.path.partition("?")[2]
        path = "".join(f"/{part}" for part in below) + (f"?{query}" if query else "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            made = as_response(self.served[int(number)](Received(self.command, path, headers, body)))
            status, content, kind = made.get("status", 200), _content(made), made.get("content_type")
        except Exception:  # noqa: BLE001  the test sees what its function raised
            status, content, kind, made = 500, traceback.format_exc().encode(), "text/plain; charset=utf-8", {}
        self.send_response(status)
        for name, value in made.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind or ("application/json" if "json" in made else "application/octet-stream"))
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Log nothing: the journal has the request."""


def _content(made: dict[str, Any]) -> bytes:
    if "json" in made:
        return json.dumps(made["json"]).encode()
    return base64.b64decode(made["body_base64"]) if "body_base64" in made else str(made.get("body", "")).encode()
