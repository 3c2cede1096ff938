"""A long body that is read slowly: memory is bounded, and TCP flow control slows the instance down."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVER = """
import socket, sys

LENGTH, PIECE = int(sys.argv[1]), bytes(2**20)
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
connection, _ = listening.accept()
received = b""
while not received.endswith(b"\\r\\n\\r\\n"):
    received += connection.recv(65536)
connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % LENGTH)
for _ in range(LENGTH // len(PIECE)):
    connection.sendall(PIECE)
"""
_CLIENT = """
import json, os, sys
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from eas_tw import PredictClient

def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

async def main(reactor):
    async with PredictClient("", "svc", instances=[("127.0.0.1", int(sys.argv[1]))], reactor=reactor) as client:
        async with client.stream(method="GET") as stream:
            before, received, number = peak_mb(), 0, 0
            async for piece in stream:
                received += len(piece)
                number += 1
                if number % 100 == 0:
                    await deferLater(reactor, 0.001)
    print(json.dumps([received, peak_mb() - before]))

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


@contextlib.contextmanager
def serving(length: int) -> Iterator[str]:
    """Run a server that sends one body of `length` bytes as fast as the client reads it. Yield the server's port."""
    command = [sys.executable, "-c", _SERVER, str(length)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:  # noqa: S603
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("length", [2**24, pytest.param(2**30, marks=pytest.mark.long)])
def test_a_body_that_is_read_slowly_is_not_collected_in_memory(length: int) -> None:
    """The peak of memory grows by less than 32 MB, whatever the length of the body."""
    with serving(length) as port:
        command = [sys.executable, "-c", _CLIENT, port]
        ended = subprocess.run(  # noqa: S603
            command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    received, grown_mb = json.loads(ended.stdout)
    assert received == length
    assert grown_mb < 32
