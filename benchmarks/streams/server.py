"""The server of the stream benchmarks: discovery, and server-sent events at a fixed rate.

It uses only asyncio's protocols, and no code of the compared clients. Each event is one chunk and one write, and
contains the time at which it was sent (`time.monotonic`, which all processes of the machine share).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","sent":%.6f,'
    '"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
)
_LAST = b"data: [DONE]\n\n"


class Connection(asyncio.Protocol):
    """One connection. A request for a stream adds the connection to the server's streams."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        if head.startswith((b"GET /exported/", b"GET /api/v1/")):
            body = self._server.upstreams
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        else:
            self.transport.write(_HEAD)
            self.left = self._server.events
            self._server.streams[self] = None

    def connection_lost(self, _: Exception | None) -> None:
        self._server.streams.pop(self, None)

    def send(self, chunk: bytes) -> None:
        self.transport.write(chunk)
        self.left -= 1
        if not self.left:
            self._server.streams.pop(self, None)
            self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(_LAST), _LAST))


class Server:
    """Sends an event to each stream at a fixed rate; the streams are spread over each period."""

    def __init__(self, events: int, rate: float, rows: int) -> None:
        self.events = events
        self._rows = rows
        self.upstreams = b""
        self.streams: dict[Connection, None] = {}
        self._period_s = 1 / rate

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=4096)
        port = listening.sockets[0].getsockname()[1]
        addresses = [f"127.0.{number >> 8}.{number & 255}" for number in range(1, self._rows + 1)]
        rows = [{"app": "bench", "ip": address, "port": port, "weight": 100} for address in addresses]
        self.upstreams = json.dumps({"correlative": ["bench"], "endpoints": {"items": rows}}).encode()
        print(port, flush=True)
        due = time.monotonic()
        while True:
            streams = list(self.streams)
            steps = min(len(streams), 50) or 1
            for step in range(steps):
                due += self._period_s / steps
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                event = (_EVENT % time.monotonic()).encode()
                chunk = b"%x\r\n%b\r\n" % (len(event), event)
                for stream in streams[step::steps]:
                    if stream.left > 0:
                        stream.send(chunk)
            due = max(due, time.monotonic() - self._period_s)  # if the server is late by more than a period, skip sends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True, help="length of a stream")
    parser.add_argument("--rate", type=float, required=True, help="events per second of a stream")
    parser.add_argument("--rows", type=int, default=1, help="rows of the discovery list; only the first is served")
    given = parser.parse_args()
    asyncio.run(Server(given.events, given.rate, given.rows).run())


if __name__ == "__main__":
    main()
