"""Discovery by host name in programs that keep all threads of Twisted's or asyncio's pool busy."""

from __future__ import annotations

import pytest

from tests.integration.programs import printed, program
from tests.simulator.serving import Served

PROGRAMS = {
    "the reactor's threads": """
        import os, threading
        from twisted.internet import threads
        from twisted.internet.defer import Deferred
        from twisted.internet.task import react
        from eas_tw import PredictClient

        async def main(reactor):
            release = threading.Event()
            for _ in range(30):
                threads.deferToThread(release.wait, 600)
            endpoint = os.environ["EAS_ENDPOINT"].replace("127.0.0.1", "localhost")
            try:
                async with PredictClient(
                    endpoint, "echo", token=os.environ["EAS_TOKEN"], endpoint_type="DIRECT", reactor=reactor
                ) as client:
                    print(await client.predict("answered"))
            finally:
                release.set()

        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
        """,
    "the loop's executor": """
        import asyncio, os, threading
        from eas_tw.aio import PredictClient

        async def main():
            release = threading.Event()
            for _ in range(60):
                asyncio.get_running_loop().run_in_executor(None, release.wait, 600)
            endpoint = os.environ["EAS_ENDPOINT"].replace("127.0.0.1", "localhost")
            try:
                async with PredictClient(
                    endpoint, "echo", token=os.environ["EAS_TOKEN"], endpoint_type="DIRECT"
                ) as client:
                    print(await client.predict("answered"))
            finally:
                release.set()

        asyncio.run(main())
        """,
}


@pytest.mark.parametrize("busy", PROGRAMS)
def test_names_are_resolved_while_the_programs_threads_are_busy(served: Served, busy: str) -> None:
    """The client resolves names in its own threads."""
    assert printed(program(served, PROGRAMS[busy])) == ["answered"]
