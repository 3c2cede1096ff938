"""A queue job with watchers in other processes, while instances crash and a watcher is killed with SIGKILL."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.blocking import QueueClient
from tests.integration.conftest import TOKEN
from tests.patience import PATIENCE_S, PATIENT, until
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from pathlib import Path

ITEMS, WINDOW, CRASHES = 10_000, 16, 4
WATCHER = """
import asyncio, os, sys
from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.aio import QueueClient

async def work(user, window, log):
    queue = QueueClient(
        os.environ["EAS_ENDPOINT"], "jobs", token=os.environ["EAS_TOKEN"], user=user, group="job",
        endpoint_type=ENDPOINT_TYPE_DIRECT, config=ClientConfig(timeout_s=60.0),
    )
    async with queue, queue.sink().watch(window=window) as watcher, asyncio.TaskGroup() as tasks:
        async for frame in watcher:
            print("got", frame.index, frame.data.decode(), file=log)
            tasks.create_task(commit(watcher, frame, log))

async def commit(watcher, frame, log):
    await watcher.commit(frame)
    print("committed", frame.index, file=log)

asyncio.run(work(sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "a", buffering=1)))
"""


class Job:
    """The simulated queue service, and the processes that watch its sink."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served = served
        self._folder = folder
        self.most_out = 0

    def watch(self, user: str) -> subprocess.Popen[bytes]:
        variables = {**environment(), "EAS_ENDPOINT": self.served.ready["url"], "EAS_TOKEN": TOKEN}
        log = str(self._folder / user)
        return subprocess.Popen([sys.executable, "-c", WATCHER, user, str(WINDOW), log], env=variables)  # noqa: S603

    def said(self, user: str, word: str) -> list[list[str]]:
        log = self._folder / user
        rows = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [row[1:] for row in rows if row[0] == word]

    def look(self) -> int:
        """Record the highest number of pending frames of one consumer, and return the number of committed results."""
        queues = self.served.admin("GET", "/v1/services/jobs/queues")[1]["queues"]
        (sink,) = [queue for queue in queues if queue["name"].endswith("sink")]
        for group in sink["groups"]:
            self.most_out = max(self.most_out, *(consumer["pending"] for consumer in group["consumers"]), 0)
        return len(self.said("one", "committed")) + len(self.said("two", "committed"))


@pytest.mark.long
def test_no_item_is_lost_when_instances_crash_and_a_watcher_is_killed(tmp_path: Path) -> None:
    services = ("--service", "jobs=3", "--queue-service", "jobs", "--token", TOKEN, "--seed", "7")
    with Served(tmp_path, *services) as served:
        job = Job(served, tmp_path)
        watchers = {user: job.watch(user) for user in ("one", "two")}
        queue: Any = QueueClient(
            served.ready["url"], "jobs", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT, config=ClientConfig(**PATIENT)
        )
        queue.init()
        # A put is repeated if its response is lost. The item may then be in the queue twice, with equal results.
        for start in range(0, ITEMS, ITEMS // CRASHES):
            instance = start // (ITEMS // CRASHES) % 3
            for number in range(start, start + ITEMS // CRASHES):
                queue.put(str(number).encode(), idempotent=True)
                if number == start + 100:
                    served.patch("jobs", f"jobs-{instance}", state="crashed")
                if number == start + 1000:
                    served.patch("jobs", f"jobs-{instance}", state="running")
            if start == ITEMS // CRASHES:
                until(lambda: len(job.said("two", "got")) > 500)
                watchers["two"].send_signal(signal.SIGKILL)
                assert watchers["two"].wait(PATIENCE_S) == -signal.SIGKILL
            job.look()
        until(lambda: len({data for user in watchers for _, data in job.said(user, "got")}) == ITEMS)
        until(lambda: job.look() >= ITEMS - WINDOW)
        queue.sink().end()
        assert watchers["one"].wait(PATIENCE_S) == 0
        queue.destroy()
    assert 0 < job.most_out <= WINDOW
    committed = {user: [index for (index,) in job.said(user, "committed")] for user in watchers}
    for user, indexes in committed.items():
        assert len(indexes) == len(set(indexes)), user
    # Both watchers can commit a frame if the first watcher lost its watch before its commit.
    twice = set(committed["one"]) & set(committed["two"])
    assert len(twice) <= (CRASHES + 1) * WINDOW
