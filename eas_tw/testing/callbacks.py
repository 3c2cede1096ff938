"""An HTTP server in the test's process, which answers the requests to a simulated service with the test's functions.

The simulator runs in another process, and forwards the requests to this server. A function can therefore be a closure
that uses the test's objects. The server runs in a separate thread.
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
    """A server on 127.0.0.1 that answers requests for each URL with a function of the test. It runs until `close`."""

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
        """Add a function.

        Returns:
            The function's URL.
        """
        self._functions.append(function)
        return f"http://127.0.0.1:{self._server.server_address[1]}/{len(self._functions) - 1}"

    def close(self) -> None:
        """Stop the server, and wait for its thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: list[Callable[[Received], Any]]

    def handle_one_request(self) -> None:
        """Answer one request with any HTTP method; the base class would need a method `do_…` for each HTTP method."""
        self.raw_requestline = self.rfile.readline(65537)  # the limit of the base class, plus 1
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
        except BaseException:  # noqa: BLE001  a 500 with the traceback, also after `pytest.fail` in the function
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
        """Do nothing, because the simulator's journal records the request."""


def _content(made: dict[str, Any]) -> bytes:
    if "json" in made:
        return json.dumps(made["json"]).encode()
    return base64.b64decode(made["body_base64"]) if "body_base64" in made else str(made.get("body", "")).encode()
