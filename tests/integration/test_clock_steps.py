"""A call waits for an instance that never responds while the system clock is set to another time."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

BEGINNING = """
    import socket, sys, time, threading
    real, step = time.time, [0.0]
    time.time = lambda: real() + step[0]
    silent = socket.create_server(("127.0.0.1", 0))
    rows, by_s = [silent.getsockname()], float(sys.argv[1])

    def ended(began, error):
        took_s = time.monotonic() - began
        print(type(error).__name__, "in time" if 0.9 <= took_s < 200 else f"after {took_s} s")
"""

PROGRAMS = {
    "the program's reactor": """
    from twisted.internet.task import react
    from eas_tw import ClientConfig, PredictClient

    async def main(reactor):
        config = ClientConfig(poll_interval_s=0.2, drain_timeout_s=0.1)
        async with PredictClient("", "s", instances=rows, reactor=reactor, config=config) as client:
            began = time.monotonic()
            reactor.callLater(0.2, lambda: step.__setitem__(0, by_s))
            try:
                await client.predict("x", timeout_s=1.0)
            except Exception as error:
                ended(began, error)
        print(threading.active_count())

    react(lambda reactor: __import__("twisted").internet.defer.Deferred.fromCoroutine(main(reactor)))
    """,
    "asyncio": """
    import asyncio
    from eas_tw.aio import PredictClient

    async def main():
        async with PredictClient("", "s", instances=rows) as client:
            began = time.monotonic()
            asyncio.get_running_loop().call_later(0.2, lambda: step.__setitem__(0, by_s))
            try:
                await client.predict("x", timeout_s=1.0)
            except Exception as error:
                ended(began, error)
        print(threading.active_count())

    asyncio.run(main())
    """,
    "threads": """
    from eas_tw.blocking import PredictClient

    with PredictClient("", "s", instances=rows) as client:
        began = time.monotonic()
        threading.Timer(0.2, lambda: step.__setitem__(0, by_s)).start()
        try:
            client.predict("x", timeout_s=1.0)
        except Exception as error:
            ended(began, error.__cause__)
    print(threading.active_count() - 1)
    """,
}


@pytest.mark.parametrize("by_s", [-600.0, 30.0])
@pytest.mark.parametrize("where", PROGRAMS)
def test_a_call_ends_by_its_deadline_whatever_is_done_to_the_clock(where: str, by_s: float) -> None:
    text = textwrap.dedent(BEGINNING) + textwrap.dedent(PROGRAMS[where])
    command = [sys.executable, "-W", "error", "-c", text, str(by_s)]
    ran = subprocess.run(  # noqa: S603
        command, env=environment(), capture_output=True, text=True, timeout=3 * PATIENCE_S, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["DeadlineExceeded in time", "1"]
