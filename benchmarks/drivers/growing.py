"""Measure a client of eas_tw once: CPU time per call, memory per call in flight, and the lag of a heartbeat."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater, react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient

_BEAT_S = 0.005
_OPENING_S = 120.0
_SAMPLES = 60
"""Samples of `hour`: one for each minute."""


class Heart:
    """Runs a timer every 5 ms. Its lag is the longest time for which the reactor was blocked."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.lag_s = 0.0
        self._beat(time.monotonic())

    def _beat(self, due: float) -> None:
        now = time.monotonic()
        self.lag_s = max(self.lag_s, now - due)
        self._call = self._reactor.callLater(_BEAT_S, self._beat, now + _BEAT_S)

    def stop(self) -> None:
        self._call.cancel()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("calls", "held", "list", "discovery", "hour"))
    parser.add_argument("endpoint", help="host:port of the control plane")
    parser.add_argument("--calls", type=int, default=20_000, help="number of calls; of clients for `discovery`")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--body-bytes", type=int, default=52)
    parser.add_argument("--auth", default="signature")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of `discovery`")
    parser.add_argument("--connections", type=int, default=0, help="maximum to each instance; 0 for enough")
    parser.add_argument("--rate", type=float, default=2000.0, help="calls per second of `hour`")
    return parser.parse_args()


def client_of(given: argparse.Namespace, reactor: Any) -> PredictClient:
    config = ClientConfig(
        auth=given.auth,
        max_connections_per_instance=given.connections or max(128, given.in_flight),
        timeout_s=300,
        max_response_bytes=1 << 28,
    )
    return PredictClient(
        given.endpoint,
        "bench",
        token="0123456789abcdef",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=config,
    )


async def calls(given: argparse.Namespace, reactor: Any) -> dict[str, float]:
    """Measure calls, with `--in-flight` calls at a time."""
    body = b"x" * given.body_bytes
    async with client_of(given, reactor) as client:

        async def caller(count: int) -> None:
            for _ in range(count):
                await client.predict(body)

        async def batch(count: int) -> int:
            each = max(1, count // given.in_flight)
            await gatherResults([Deferred.fromCoroutine(caller(each)) for _ in range(given.in_flight)])
            return each * given.in_flight

        await batch(max(given.in_flight, given.calls // 10))
        heart = Heart(reactor)
        cpu_s, wall_s = _cpu_s(), time.monotonic()
        done = await batch(given.calls)
        cpu_s, wall_s = _cpu_s() - cpu_s, time.monotonic() - wall_s
        heart.stop()
        assert client.counters.failures.total() == 0
    return {"cpu_us_per_call": cpu_s / done * 1e6, "calls_per_s": done / wall_s, "lag_ms": heart.lag_s * 1000}


async def held(given: argparse.Namespace, reactor: Any) -> dict[str, float]:
    """Measure calls that are all in flight together, each on a separate connection, and cancel them.

    The program makes all calls in one iteration of the reactor, whose duration is `calling_ms`. The lag is measured in
    the later iterations, in which the connections are opened and the requests are sent.
    """
    async with client_of(given, reactor) as client:
        before_kb = _rss_kb()
        began = time.monotonic()
        waiting = [client.predict(b"x" * given.body_bytes) for _ in range(given.in_flight)]
        calling_s = time.monotonic() - began
        heart = Heart(reactor)
        (instance,) = client.instances
        while client.connections(instance) < given.in_flight:
            assert time.monotonic() - began < _OPENING_S, f"{client.connections(instance)} connections are open"
            await deferLater(reactor, 0.05)
        opened_s = time.monotonic() - began
        kib = (_rss_kb() - before_kb) / given.in_flight
        heart.stop()
        for call in waiting:
            call.addErrback(lambda failure: failure.trap(CancelledError))
            call.cancel()
    lag_ms = heart.lag_s * 1000
    return {"kib_per_call": kib, "opened_s": opened_s, "calling_ms": calling_s * 1000, "lag_ms": lag_ms}


async def long_list(given: argparse.Namespace, reactor: Any) -> dict[str, float]:
    """Measure memory and lag of a client that receives a long list of instances."""
    heart = Heart(reactor)
    await deferLater(reactor, 0.1)
    before_kb = _rss_kb()
    async with client_of(given, reactor) as client:
        await deferLater(reactor, 0.1)
        count = len(client.instances)
        kib = (_rss_kb() - before_kb) / count
    heart.stop()
    return {"instances": count, "kib_per_instance": kib, "lag_ms": heart.lag_s * 1000}


async def discovery(given: argparse.Namespace, reactor: Any) -> dict[str, float]:
    """Measure the polls of many clients without calls, which load the control plane like as many processes."""
    clients = [client_of(given, reactor) for _ in range(given.calls)]
    for client in clients:
        await client.init()
    before, cpu_s, wall_s = sum(client.discovery.polls for client in clients), _cpu_s(), time.monotonic()
    await deferLater(reactor, given.seconds)
    polls = sum(client.discovery.polls for client in clients) - before
    cpu_s, wall_s = _cpu_s() - cpu_s, time.monotonic() - wall_s
    await gatherResults([client.close() for client in clients])
    return {"polls_per_s": polls / wall_s, "cpu_us_per_poll": cpu_s / max(1, polls) * 1e6}


async def hour(given: argparse.Namespace, reactor: Any) -> dict[str, float]:
    """Make `--calls` calls at a fixed rate, and compare what the process holds in the second and in the last quarter.

    The first quarter is left out, because caches fill in it. Every tenth call is a stream, so streams are covered, too.
    """
    body = b"x" * given.body_bytes
    async with client_of(given, reactor) as client:
        samples: list[dict[str, float]] = []
        every = max(1, given.calls // _SAMPLES)
        began = time.monotonic()
        open_now: set[Deferred[None]] = set()
        failed = 0

        async def one(number: int) -> None:
            if number % 10:
                await client.predict(body)
                return
            stream = await client.stream(body)
            async for _ in stream:
                pass

        def ended(result: object, running: Deferred[None]) -> None:
            nonlocal failed
            open_now.discard(running)
            failed += result is not None

        for number in range(given.calls):
            late_s = began + number / given.rate - time.monotonic()
            if late_s > 0:
                await deferLater(reactor, late_s)
            running = Deferred.fromCoroutine(one(number))
            open_now.add(running)
            running.addBoth(ended, running)
            if number % every == every - 1:
                gc.collect()
                samples.append(_held_by_the_process(reactor))
        took_s = time.monotonic() - began
        await gatherResults([*open_now])
    assert failed == 0, f"{failed} calls failed"
    quarter = len(samples) // 4
    found = {"calls": float(given.calls), "seconds": took_s}
    for name in samples[0]:
        early, late = (
            [sample[name] for sample in part] for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        found[name] = statistics.median(late)
        found[f"{name}_growth"] = statistics.median(late) - statistics.median(early)
    return found


def _held_by_the_process(reactor: Any) -> dict[str, float]:
    """Return memory in KiB, objects that the garbage collector knows, open files, and timers of the reactor."""
    return {
        "rss_kib": _rss_kb(),
        "objects": float(len(gc.get_objects())),
        "files": float(len([*Path("/proc/self/fd").iterdir()])),
        "timers": float(len(reactor.getDelayedCalls())),
    }


def _rss_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1024


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main(reactor: Any) -> None:
    given = options()
    measure = {"calls": calls, "held": held, "list": long_list, "discovery": discovery, "hour": hour}[given.what]
    found = await measure(given, reactor)
    print(json.dumps(found), flush=True)


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
