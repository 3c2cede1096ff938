"""Benchmark driver: blocking sockets that send a request and count the bytes of the response; nothing is parsed.

Each call in flight has a connection. With more than one call in flight, the driver sends the requests on all
connections, and then reads all responses.
"""

import argparse
import socket

from measuring import Account, body_of

HEAD = b"POST /api/predict/bench HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
BUFFER = 1 << 20


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint", help="not used")
    parser.add_argument("ports", help="the port of the server")
    for name in ("calls", "warm-up", "in-flight", "body-bytes", "response-bytes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def length_of_head(connection: socket.socket, request: bytes, body_bytes: int) -> int:
    """Make a call, and return the number of bytes before the body of its response."""
    connection.sendall(request)
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0 or len(received) < end + 4 + body_bytes:
        received += connection.recv(BUFFER)
    return end + 4


def main() -> None:
    given = options()
    body = body_of(given.body_bytes)
    request = HEAD % len(body) + body
    memory = memoryview(bytearray(BUFFER))
    connections = [socket.create_connection(("127.0.0.1", int(given.ports))) for _ in range(given.in_flight)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        expected = length_of_head(connection, request, given.response_bytes) + given.response_bytes

    def batch(calls: int) -> int:
        turns = max(1, calls // given.in_flight)
        for _ in range(turns):
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                left = expected
                while left > 0:
                    left -= connection.recv_into(memory, min(left, BUFFER))
        return turns * given.in_flight

    batch(given.warm_up)
    account = Account()
    account.report(batch(given.calls))


main()
