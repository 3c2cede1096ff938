"""The server of large bodies, which reads a whole request, and then writes a response that is ready in memory.

nginx is not suitable, because it answers a request before it has read a body that it does not need. Each connection has
a thread with blocking calls, so that only the sockets have a cost per byte. The server shares no code with the compared
clients.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading

_BUFFER = 1 << 20


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _serve(connection: socket.socket, upstreams: bytes, response: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    memory = memoryview(bytearray(_BUFFER))
    while (received := connection.recv_into(memory)) > 0:
        head = bytes(memory[:received])
        while (end := head.find(b"\r\n\r\n")) < 0:
            head += connection.recv(_BUFFER)
        is_discovery = head.startswith((b"GET /exported/", b"GET /api/v1/"))
        left = _length(head[:end].lower()) - (len(head) - end - 4)
        while left > 0:
            received = connection.recv_into(memory)
            if not received:
                return
            left -= received
        connection.sendall(upstreams if is_discovery else response)


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _serve_until_lost(connection: socket.socket, upstreams: bytes, response: bytes) -> None:
    with connection:
        try:
            _serve(connection, upstreams, response)
        except ConnectionError:  # the client has closed the connection
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--response-bytes", type=int, required=True, help="of a response's body")
    given = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listening.getsockname()[1]
    rows = [{"app": "bench", "ip": "127.0.0.1", "port": port, "weight": 100}]
    upstreams = _answer(json.dumps({"correlative": ["bench"], "endpoints": {"items": rows}}).encode())
    response = _answer(b"x" * given.response_bytes)
    print(port, flush=True)
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_serve_until_lost, args=(connection, upstreams, response), daemon=True).start()


if __name__ == "__main__":
    main()
