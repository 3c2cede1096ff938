"""A job of ten thousand items through a queue service: two consumers, crashing instances, and a killed consumer."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import Any

import pytest

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, QueueClient
from simulator import ServiceSpec, Simulator
from simulator.instance import State
from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler

TOKEN = "a-token-nobody-may-see"
WINDOW = 32
PER_TICK, TICK_S = 10, 0.01
EVERY_S, DOWN_S = 0.7, 0.4


class Reader:
    """A process that watches the sink, and commits each frame after up to 20 ms."""

    def __init__(self, job: Job, ip: str, user: str) -> None:
        self.reactor = VirtualReactor(job.network, ip)
        self.client = job.client(self.reactor, user)
        self.items: Counter[bytes] = Counter()
        self.returned: Counter[int] = Counter()
        self.committed: list[int] = []
        self.in_hand: set[int] = set()
        self.most = 0
        self._rng = job.scheduler.stream(f"reader {ip}")
        self._watcher: Any = None
        self.client.init().addCallback(self._begin)

    def _begin(self, _: object) -> None:
        self._watcher = self.client.sink().watch(window=WINDOW)
        self._watcher.open().addCallback(self._read)

    def _read(self, _: object = None) -> None:
        self._watcher.next_frame().addCallback(self._got)

    def _got(self, frame: Any) -> None:
        if frame is None:
            return
        self.items[frame.data] += 1
        self.returned[frame.index] += 1
        self.in_hand.add(frame.index)
        self.most = max(self.most, len(self.in_hand))
        self.reactor.callLater(self._rng.uniform(0.0, 0.02), self._commit, frame.index)
        self.reactor.callLater(0, self._read)

    def _commit(self, index: int) -> None:
        self.in_hand.discard(index)
        self._watcher.commit(index).addCallbacks(
            lambda _: self.committed.append(index), lambda _: self.reactor.callLater(0.1, self._commit, index)
        )


class Job:
    """A simulated queue service of three instances, one of which is down during 0.4 s of each 0.7 s."""

    def __init__(self, items: int) -> None:
        self.scheduler = Scheduler(7)
        self.network = Network(self.scheduler, jitter_s=0.0005)
        spec = ServiceSpec("jobs", 3, token=TOKEN, processor="echo", queue_service=True)
        host = "10.0.0.2"
        self.world = Simulator(VirtualReactor(self.network, host), seed=7, host=host, services=[spec])
        self.world.start()
        self.items = [b"item %d" % number for number in range(items)]
        self._left = iter(self.items)
        self.answered: set[bytes] = set()
        self._instances = cycle(self.world.services["jobs"].instances.values())
        self._down: Any = None
        self.reactor = VirtualReactor(self.network, "10.0.0.1")
        self.producer = self.client(self.reactor, None)
        self.producer.init().addCallback(self._put_some)
        self.scheduler.call_later(EVERY_S, self._crash)

    def client(self, reactor: VirtualReactor, user: str | None) -> QueueClient:
        config = ClientConfig(seed=1, timeout_s=2.0, retry_budget_min_per_s=1000.0)
        return QueueClient(
            self.world.url,
            "jobs",
            token=TOKEN,
            user=user,
            endpoint_type=ENDPOINT_TYPE_DIRECT,
            reactor=reactor,
            config=config,
        )

    def _put_some(self, _: object = None) -> None:
        for _number, item in zip(range(PER_TICK), self._left, strict=False):
            self._put(item)
        if len(self.answered) < len(self.items):
            self.reactor.callLater(TICK_S, self._put_some)

    def _put(self, item: bytes) -> None:
        self.producer.put(item, idempotent=True).addCallbacks(
            lambda _: self.answered.add(item), lambda _: self.reactor.callLater(0.1, self._put, item)
        )

    def _crash(self) -> None:
        instance = self._down = next(self._instances)
        instance.set_state(State.CRASHED)
        self.scheduler.call_later(DOWN_S, instance.set_state, State.RUNNING)
        if len(self.answered) < len(self.items):
            self.scheduler.call_later(EVERY_S, self._crash)

    def until(self, done: Any, timeout_s: float = 60.0) -> None:
        assert self.scheduler.run_until(done, timeout_s)
        assert not self.scheduler.errors

    def run(self, what: Any) -> None:
        ended: list[Any] = []
        what.addBoth(ended.append)
        self.until(lambda: bool(ended))


@pytest.mark.long
def test_a_job_of_ten_thousand_items_loses_none() -> None:
    job = Job(10_000)
    sink = job.world.services["jobs"].queues.sink.store  # type: ignore[union-attr]
    first, second = Reader(job, "10.0.1.1", "u1"), Reader(job, "10.0.1.2", "u2")
    job.until(lambda: second.returned.total() > 1500)
    second.reactor.kill()
    job.scheduler.run_for(1.0)
    third = Reader(job, "10.0.1.2", "u2")
    readers = (first, second, third)

    def is_done() -> bool:
        return len(job.answered) == len(job.items) and sink.groups["eas"].is_done

    job.until(is_done)
    job.scheduler.run_for(3.0)
    seen = {item for reader in readers for item in reader.items}
    assert seen == set(job.items)
    for reader in readers:
        assert reader.most <= WINDOW
        assert max(reader.returned.values()) == 1
        assert len(reader.committed) == len(set(reader.committed))
    assert len(third.committed) > 100
    # Only frames that a reader had in hand when its watch was lost are processed twice.
    losses = sum(reader.client.counters.watches_lost.total() for reader in readers) + 1
    twice = sum(count - 1 for count in Counter(i for r in readers for i in r.returned).values() if count > 1)
    assert losses > 3
    assert twice <= losses * WINDOW
    for client in (job.producer, first.client, third.client):
        job.run(client.close())
    job.run(job.world.stop())
