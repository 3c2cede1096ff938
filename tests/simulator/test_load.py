"""Ten thousand open connections. benchmarks/simulator_load.py measures times."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.patience import PATIENCE_S
from tests.simulator.serving import Served

WANTED = 10_000
SPARE = 300
FEW = 256


@contextlib.contextmanager
def descriptors() -> Iterator[int]:
    """Yield the number of sockets that this process may open, at most `WANTED`.

    In the block, the soft limit is `FEW`, so that a simulator started in it must raise its own limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = hard if hard != resource.RLIM_INFINITY else WANTED + SPARE
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, hard))
    try:
        yield min(WANTED, allowed - SPARE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_connections(tmp_path: Path) -> None:
    with descriptors() as most, Served(tmp_path, "--service", "echo=4", "--token", "") as served:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + SPARE, hard))
        request = b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        with contextlib.ExitStack() as stack:
            connections = []
            for number in range(most):
                instance = served.instances[number % 4]
                where = (instance["ip"], instance["port"])
                connections.append(stack.enter_context(socket.create_connection(where, timeout=PATIENCE_S)))
            for connection in connections[:: most // 100]:
                connection.sendall(request)
            for connection in connections[:: most // 100]:
                assert connection.recv(1000).endswith(b"hi")
            instances = served.admin("GET", "/v1/state")[1]["services"][0]["instances"]
            assert sum(instance["connections"] for instance in instances) == most
            assert len(served.admin("GET", "/v1/connections")[1]["connections"]) == most
        assert served.predict("echo", b"after") == (200, b"after")
    assert served.code == 0
