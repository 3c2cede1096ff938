"""The queue client over real sockets, against simulated queue services in another process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.client import Agent

import eas_tw.blocking
from eas_tw import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_DIRECT,
    ClientConfig,
    ConfigError,
    ConnectionFailed,
    Frame,
    QueueClient,
    SinkQueue,
    StatusError,
)
from eas_tw.telemetry.events import WatchLost
from tests.integration.conftest import TOKEN
from tests.integration.programs import printed, program
from tests.integration.tls import TlsProxy
from tests.patience import PATIENT
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDPOINT_TYPES = (ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT)
WATCHES = ("websocket", "http")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start a simulator with a queue service `qservice`, whose instances process its frames."""
    services = ("--service", "qservice=2", "--queue-service", "qservice")
    with Served(tmp_path_factory.mktemp("queues"), *services, "--token", TOKEN, "--seed", "7") as served:
        yield served


def queue_of(served: Served, kind: str = ENDPOINT_TYPE_DIRECT, token: str = TOKEN, **settings: Any) -> QueueClient:
    config = ClientConfig(**{**PATIENT, "seed": 1, **settings})
    return QueueClient(
        served.ready["url"], "qservice", token=token, user="u1", endpoint_type=kind, reactor=reactor, config=config
    )


def fault(served: Served, name: str, **details: Any) -> None:
    status, answer = served.admin(
        "POST", "/v1/faults", {"name": name, "type": name, "target": {"service": "qservice"}, **details}
    )
    assert status == 201, answer


def journal(served: Served) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = served.admin("GET", "/v1/requests?limit=10000")[1]["requests"]
    return found


async def results(sink: SinkQueue, count: int, *, on_frame: Any = None, **options: Any) -> list[bytes]:
    """Watch a sink until `count` frames have been received and committed, and return their data."""
    found: list[bytes] = []
    async with sink.watch(**options) as watcher:
        while len(found) < count:
            frame = await watcher.next_frame()
            assert isinstance(frame, Frame)
            found.append(frame.data)
            await watcher.commit(frame)
            if on_frame is not None:
                on_frame(len(found), watcher)
    return found


async def put_all(queue: QueueClient, count: int) -> list[bytes]:
    bodies = [b"[%d]" % number for number in range(count)]
    await gatherResults([queue.put(body) for body in bodies])
    return bodies


@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_a_result_is_got_by_the_request_id_of_its_put(served: Served, kind: str) -> None:
    async with queue_of(served, kind) as queue:
        put = await queue.put(b"[1, 2]", tags={"k": "v w"})
        (frame,) = await queue.sink().get(request_id=put.request_id, timeout_s=60.0)
        assert (frame.request_id, frame.data) == (put.request_id, b"[1, 2]")
        assert frame.tags["k"] == "v w"
        assert await queue.sink().get(request_id=put.request_id, timeout_s=0) == []


@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_every_operation_is_understood_by_the_service(served: Served, kind: str) -> None:
    async with queue_of(served, kind) as queue:
        sink = queue.sink()
        attributes = await sink.attributes()
        assert attributes["meta.state"] == "Normal"
        first = await sink.put(b"a", priority=1)
        second = await sink.put("b", tags={"k": "v"})
        assert second.index == first.index + 1
        assert await sink.count() == 2
        assert await sink.count(tags={"k": "v"}) == 1
        assert (await sink.search(second.index)).wait_count == 1
        frames = await sink.get(index=first.index, length=2, timeout_s=0, auto_delete=False)
        assert [frame.data for frame in frames] == [b"a", b"b"]
        await sink.commit(frames[0])
        await sink.reject(frames[1], "Busy", "why")
        await sink.delete([first.index])
        assert await sink.count() == 1
        await sink.truncate(second.index + 1)
        assert await sink.count() == 0
        await sink.put(b"c")
        await sink.clear()
        assert await sink.count() == 0


@pytest.mark.parametrize("way", WATCHES)
@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_a_watch_brings_every_result_once_and_none_is_left(served: Served, kind: str, way: str) -> None:
    async with queue_of(served, kind, queue_watch=way) as queue:
        sink = queue.sink()
        watching = Deferred.fromCoroutine(results(sink, 20, window=4))
        sent = await put_all(queue, 20)
        assert sorted(await watching) == sorted(sent)
        assert queue.counters.watches_lost == {}
        again = sink.watch()
        await again.open()
        extra = await queue.put(b"last")
        frame = await again.next_frame()
        assert frame is not None
        assert frame.request_id == extra.request_id
        await again.close()


@pytest.mark.parametrize("way", WATCHES)
@pytest_twisted.ensureDeferred
async def test_dropped_watches_lose_no_frame_and_return_none_twice(served: Served, way: str) -> None:
    fault(served, "drop_watch", probability=0.4, attributes={"reset": True})
    async with queue_of(served, queue_watch=way) as queue:
        lost: list[WatchLost] = []
        queue.listen(lambda event: lost.append(event) if isinstance(event, WatchLost) else None)
        watching = Deferred.fromCoroutine(results(queue.sink(), 30, window=5))
        sent = await put_all(queue, 30)
        assert sorted(await watching) == sorted(sent)
        assert lost
        assert queue.counters.frames == 30


@pytest_twisted.ensureDeferred
async def test_frames_that_are_sent_twice_are_read_once(served: Served) -> None:
    fault(served, "duplicate_frame")
    async with queue_of(served) as queue:
        watching = Deferred.fromCoroutine(results(queue.sink(), 10))
        sent = await put_all(queue, 10)
        assert sorted(await watching) == sorted(sent)
        assert queue.counters.frames_repeated > 0


@pytest_twisted.ensureDeferred
async def test_the_crash_of_the_watched_instance_moves_the_watch_to_the_other(served: Served) -> None:
    async with queue_of(served) as queue:
        used = []

        def crash(count: int, watcher: Any) -> None:
            used.append(watcher.instance)
            if count == 5:
                (name,) = [row["id"] for row in served.instances if row["port"] == watcher.instance.port]
                served.patch("qservice", name, state="crashed")

        watching = Deferred.fromCoroutine(results(queue.sink(), 20, window=3, on_frame=crash))
        sent = await put_all(queue, 20)
        assert sorted(await watching) == sorted(sent)
        assert queue.counters.watches >= 2
        assert used[-1] != used[0]


@pytest_twisted.ensureDeferred
async def test_a_rolling_restart_loses_no_put_no_frame_and_no_commit(served: Served) -> None:
    async with queue_of(served) as queue:
        names = [row["id"] for row in served.instances]

        def restart(count: int) -> None:
            for number, name in enumerate(names):
                if count == 5 + 10 * number:
                    served.patch("qservice", name, state="draining")
                    served.patch("qservice", name, state="crashed")
                if count == 12 + 10 * number:
                    served.patch("qservice", name, state="running")

        sent = [b"[%d]" % number for number in range(40)]
        left = set(sent)

        async def work() -> None:
            async with queue.sink().watch(window=3) as watcher:
                while left:
                    frame = await watcher.next_frame()
                    assert isinstance(frame, Frame)
                    left.discard(frame.data)
                    await watcher.commit(frame)
                    restart(len(sent) - len(left))

        working = Deferred.fromCoroutine(work())
        for body in sent:
            await queue.put(body, idempotent=True)
        await working
        assert not left
        assert queue.counters.commits_failed == 0


@pytest_twisted.ensureDeferred
async def test_a_full_queue_is_an_error_of_one_request(served: Served) -> None:
    fault(served, "full")
    async with queue_of(served) as queue:
        with pytest.raises(StatusError, match="put into qservice: the queue is full") as caught:
            await queue.put(b"x")
        assert caught.value.status == 429
    assert len([row for row in journal(served) if row["method"] == "POST"]) == 1


@pytest.mark.parametrize("kind", ENDPOINT_TYPES)
@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_an_error_of_one_request(served: Served, kind: str) -> None:
    async with queue_of(served, kind, token="n0t-the-token") as queue:
        with pytest.raises(StatusError, match="put into qservice: the token is not accepted") as caught:
            await queue.put(b"x")
        assert caught.value.status == 401
        assert "n0t-the-token" not in str(caught.value)
    assert len(journal(served)) == 1
    async with queue_of(served, kind, token="n0t-the-token") as queue:
        with pytest.raises(StatusError, match="refused the watch with status 401"):
            await queue.sink().watch().open()


@pytest.mark.parametrize("way", WATCHES)
@pytest_twisted.ensureDeferred
async def test_the_end_of_the_stream_ends_the_iteration(served: Served, way: str) -> None:
    async with queue_of(served, queue_watch=way) as queue:
        sink = queue.sink()
        await sink.put(b"a")
        await sink.end()
        found = []
        async with sink.watch() as watcher:
            async for frame in watcher:
                found.append(frame.data)
                await watcher.commit(frame)
        assert found == [b"a"]
        with pytest.raises(StatusError, match="the stream has ended"):
            await sink.put(b"b")


@pytest_twisted.ensureDeferred
async def test_a_watch_through_a_gateway_with_https_trusts_the_configured_authority(
    served: Served, tmp_path: Path
) -> None:
    with TlsProxy(tmp_path, served.ready["url"]) as tls:
        config = ClientConfig(**PATIENT, trust_roots=str(tls.authority_file))
        async with QueueClient(tls.url, "qservice", token=TOKEN, reactor=reactor, config=config) as queue:
            watching = Deferred.fromCoroutine(results(queue.sink(), 5))
            sent = await put_all(queue, 5)
            assert sorted(await watching) == sent
        stranger = ClientConfig(timeout_s=1.0)
        async with QueueClient(tls.url, "qservice", token=TOKEN, reactor=reactor, config=stranger) as queue:
            with pytest.raises(ConnectionFailed, match="certificate verify failed"):
                await queue.sink().watch().open()


@pytest_twisted.ensureDeferred
async def test_a_websocket_does_not_bypass_the_programs_agent(served: Served) -> None:
    async with QueueClient(
        served.ready["url"], "qservice", token=TOKEN, reactor=reactor, agent=Agent(reactor)
    ) as queue:
        with pytest.raises(ConfigError, match='needs ClientConfig\\(queue_watch="http"\\)'):
            queue.watch()


@pytest_twisted.ensureDeferred
async def test_each_group_gets_every_frame_and_each_consumer_of_a_group_its_own(served: Served) -> None:
    async with queue_of(served) as queue:
        sink = queue.sink()
        for number in range(8):
            await sink.put(b"%d" % number)
        config = ClientConfig(**PATIENT)
        others = [
            QueueClient(
                served.ready["url"],
                "qservice",
                token=TOKEN,
                user=user,
                group=group,
                endpoint_type=ENDPOINT_TYPE_DIRECT,
                reactor=reactor,
                config=config,
            )
            for user, group in (("a", "one"), ("b", "two"), ("c", "two"))
        ]
        for other in others:
            await other.init()
        alone, *together = [other.sink().watch(window=4) for other in others]
        for watcher in (alone, *together):
            await watcher.open()
        expected = {b"%d" % number for number in range(8)}
        assert {await _take(alone) for _ in range(8)} == expected
        shared = [[await _take(watcher) for _ in range(4)] for watcher in together]
        assert {data for one in shared for data in one} == expected
        for other in others:
            await other.close()


async def _take(watcher: eas_tw.Watcher) -> bytes:
    frame = await watcher.next_frame()
    assert frame is not None
    watcher.commit(frame).addErrback(lambda _: None)
    return frame.data


def test_an_asyncio_program_puts_watches_and_commits(served: Served) -> None:
    ended = program(
        served,
        """
    import asyncio, os
    import eas_tw.aio
    from tests.patience import PATIENT
    async def main():
        asyncio.get_running_loop().slow_callback_duration = 600
        queue = eas_tw.aio.QueueClient(
            os.environ["EAS_ENDPOINT"], "qservice", token=os.environ["EAS_TOKEN"],
            endpoint_type=eas_tw.ENDPOINT_TYPE_DIRECT, config=eas_tw.ClientConfig(**PATIENT),
        )
        found = []
        async with queue, queue.sink().watch(window=4) as watcher:
            await asyncio.gather(*(queue.put(b"%d" % number) for number in range(10)))
            async for frame in watcher:
                found.append(frame.data)
                await watcher.commit(frame)
                if len(found) == 10:
                    break
            waiting = asyncio.create_task(watcher.next_frame())
            await asyncio.sleep(0)
            waiting.cancel()
            try:
                await waiting
            except asyncio.CancelledError:
                print("cancelled")
            print(await queue.sink().count(), (await queue.attributes())["meta.state"])
        print(*sorted(found))
    asyncio.run(main(), debug=True)
    """,
    )
    assert printed(ended) == ["cancelled", "10 Normal", " ".join(f"b'{number}'" for number in range(10))]


def test_a_token_function_under_asyncio_is_called_for_each_request_of_a_queue(served: Served) -> None:
    ended = program(
        served,
        """
    import asyncio, os
    import eas_tw
    import eas_tw.aio
    from tests.patience import PATIENT
    tokens = [os.environ["EAS_TOKEN"]]
    def token():
        return tokens[0]
    async def main():
        asyncio.get_running_loop().slow_callback_duration = 600
        queue = eas_tw.aio.QueueClient(
            os.environ["EAS_ENDPOINT"], "qservice", token=token,
            endpoint_type=eas_tw.ENDPOINT_TYPE_DIRECT, config=eas_tw.ClientConfig(**PATIENT),
        )
        async with queue, queue.sink().watch() as watcher:
            await queue.put(b"[1]")
            frame = await watcher.next_frame()
            await watcher.commit(frame)
            tokens[0] = 7
            for operation in (queue.put(b"[2]"), queue.attributes(), watcher.commit(1), queue.watch().open()):
                try:
                    await operation
                except eas_tw.ConfigError as error:
                    print(error)
    asyncio.run(main(), debug=True)
    """,
    )
    line = "what the function given as token returns must be a string of visible ASCII; "
    assert printed(ended) == [f"{line}the one given is of type int (it is not shown here)"] * 4


def test_a_token_function_of_a_blocking_queue_client_is_called_in_the_reactor_thread(served: Served) -> None:
    threads = []

    def token() -> str:
        threads.append(threading.current_thread())
        if is_broken:
            raise LookupError
        return TOKEN

    is_broken = False
    queue = eas_tw.blocking.QueueClient(
        served.ready["url"], "qservice", token=token, endpoint_type=ENDPOINT_TYPE_DIRECT, config=ClientConfig(**PATIENT)
    )
    with queue, queue.sink().watch(0, 5) as watcher:
        queue.put(b"[1]")
        frame = next(watcher.run())
        watcher.commit(frame)
        is_broken = True
        for operate in (lambda: queue.put(b"[2]"), lambda: watcher.commit(frame), queue.watch(0, 5).open):
            with pytest.raises(
                eas_tw.blocking.PredictException, match="the function given as token raised LookupError"
            ):
                operate()
    assert len(threads) > 6
    assert threading.current_thread() not in threads
    assert len(set(threads)) == 1


def test_a_program_of_the_official_sdk_runs_with_another_import(served: Served) -> None:
    queue = eas_tw.blocking.QueueClient(served.ready["url"], "qservice")
    queue.set_token(TOKEN)
    queue.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    queue.set_timeout(100_000)
    queue.init()
    sink = eas_tw.blocking.QueueClient(served.ready["url"], "qservice/sink")
    sink.set_token(TOKEN)
    sink.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    sink.init(uid="me", gid="us")
    index, request_id = queue.put("[1]", {"k": "v"})
    assert index.isdecimal()
    (frame,) = sink.get(request_id=request_id, timeout="60s", auto_delete=False)
    assert (frame.data, frame.tags["k"]) == (b"[1]", "v")
    assert f"index: {frame.index}" in str(frame)
    assert sink.search(frame.index)["WaitCount"] == 0
    assert sink.commit(frame.index) == b"OK"
    assert sink.delete([frame.index]) == "OK"
    assert sink.truncate(frame.index + 1) == b"OK"
    assert sink.attributes()["meta.name"] == "qservice/sink"
    watcher = sink.watch(0, 5, auto_commit=False)
    for number in range(3):
        queue.put(b"%d" % number)
    found = []
    for frame in watcher.run():
        found.append(frame.data)
        sink.commit(frame.index)
        if len(found) == 3:
            watcher.close()
    assert sorted(found) == [b"0", b"1", b"2"]
    with pytest.raises(eas_tw.blocking.PredictException) as caught:
        sink.search(10**9)
    assert caught.value.code == 404
    for client in (queue, sink):
        client.destroy()


def test_another_thread_may_close_a_watcher_that_waits(served: Served) -> None:
    with eas_tw.blocking.QueueClient(
        served.ready["url"], "qservice", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT
    ) as queue:
        watcher = queue.sink().watch()
        watcher.open()
        timer = threading.Timer(0.05, watcher.close)
        timer.start()
        assert list(watcher) == []
        timer.join()
