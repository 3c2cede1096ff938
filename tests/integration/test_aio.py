"""asyncio programs without Twisted, against a simulator in another process."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from eas_tw import ConfigError, NoInstances
from eas_tw.aio import PredictClient
from tests.integration.conftest import TOKEN
from tests.integration.programs import printed, program

if TYPE_CHECKING:
    from tests.simulator.serving import Served

BEGIN = """
    import asyncio, os, sys, threading
    import eas_tw
    from eas_tw.aio import PredictClient
    from tests.patience import PATIENT
    assert "twisted.internet.reactor" not in sys.modules
    def client_of(service="echo", endpoint=os.environ["EAS_ENDPOINT"], **settings):
        return PredictClient(
            endpoint, service, token=os.environ["EAS_TOKEN"], endpoint_type=eas_tw.ENDPOINT_TYPE_DIRECT,
            config=eas_tw.ClientConfig(**{**PATIENT, **settings}),
        )
    def run(main):
        async def patient():  # debug mode complains of a busy machine, too
            asyncio.get_running_loop().slow_callback_duration = 600
            return await main
        return asyncio.run(patient(), debug=True)
"""
DEBUG = ("-X", "dev")


def test_calls_are_coroutines_and_survive_a_crash(served: Served) -> None:
    """The program runs in asyncio's debug mode and gathers calls. One instance has crashed before the first call."""
    served.patch("echo", "echo-0", state="crashed")
    ended = program(
        served,
        BEGIN
        + """
    async def main():
        async with client_of() as client:
            calls = [client.predict(f"[{number}]") for number in range(30)]
            print(asyncio.iscoroutinefunction(client.predict), client.client.counters.calls)
            answers = await asyncio.gather(*calls)
            print([str(answer) for answer in answers] == [f"[{number}]" for number in range(30)])
            print(client.client.counters.failures["connect_refused"] > 0, len(client.instances))
    run(main())
""",
        *DEBUG,
    )
    assert printed(ended) == ["True 0", "True", "True 3"]


def test_large_bodies_are_signed_outside_the_loop(served: Served) -> None:
    """The service checks the signatures, so the test would fail if one were wrong."""
    ended = program(
        served,
        BEGIN
        + """
    import eas_tw.client
    hashing = eas_tw.client.md5_hex_in_steps
    def noting(data):
        names.append(threading.current_thread().name)
        return (yield from hashing(data))
    names, eas_tw.client.md5_hex_in_steps = [], noting
    async def main():
        async with client_of(max_response_bytes=4 << 20) as client:
            body = bytes(3 << 20)
            print((await client.predict(body)).content == body)
            async with client.stream(body) as stream:
                print(await stream.read() == body)
        print(names)
    run(main())
""",
        *DEBUG,
    )
    assert printed(ended) == ["True", "True", "['eas_tw.offload', 'eas_tw.offload']"]


def test_sockets_of_a_closed_event_loop_are_closed_in_a_later_one(served: Served) -> None:
    """A client that was not closed leaves its sockets open, and a ResourceWarning would fail this program."""
    ended = program(
        served,
        BEGIN
        + """
    import gc
    async def left():
        client = client_of()
        await client.init()
        await client.predict("[1]")
    async def later():
        async with client_of() as client:
            gc.collect()
            print(await client.predict("[2]"))
    for _ in range(3):
        run(left())
    run(later())
""",
        *DEBUG,
    )
    assert printed(ended) == ["[2]"]


def test_a_call_works_with_every_way_of_running_a_coroutine(served: Served) -> None:
    """The ways are `create_task`, `TaskGroup`, `wait_for`, `timeout`, and anyio's `start_soon` (tox installs anyio)."""
    ended = program(
        served,
        BEGIN
        + f"    has_anyio = {find_spec('anyio') is not None}\n"
        + """
    async def main():
        async with client_of() as client:
            print(str(await asyncio.create_task(client.predict("[1]"))))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client.predict(f"[{number}]")) for number in range(3)]
            print([str(task.result()) for task in tasks])
            print(str(await asyncio.wait_for(client.predict("[2]"), 100)))
            async with asyncio.timeout(100):
                print(str(await client.predict("[3]")))
            if has_anyio:
                import anyio
                async with anyio.create_task_group() as group:
                    group.start_soon(client.predict, "[4]")
            print(client.client.counters.answered == 6 + has_anyio)
    for name in ("init", "predict", "close", "destroy"):
        assert asyncio.iscoroutinefunction(getattr(PredictClient, name)), name
    run(main())
""",
        *DEBUG,
    )
    assert printed(ended) == ["[1]", "['[0]', '[1]', '[2]']", "[2]", "[3]", "True"]


def test_nothing_is_sent_before_the_coroutine_runs(served: Served) -> None:
    """A coroutine that is never awaited causes a warning. A task that is cancelled before it runs makes no call."""
    ended = program(
        served,
        BEGIN
        + """
    import gc, warnings
    async def main():
        async with client_of() as client:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                client.predict("[]")
                gc.collect()
            print(caught[0].message)
            task = asyncio.create_task(client.predict("[]"))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.05)
            print(task.cancelled(), client.client.counters.calls)
    asyncio.run(main())
""",
    )
    assert printed(ended) == ["coroutine 'PredictClient.predict' was never awaited", "True 0"]


def test_a_cancelled_task_frees_its_connection_slot_immediately(served: Served) -> None:
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    ended = program(
        served,
        BEGIN
        + """
    async def main():
        async with client_of(drain_timeout_s=0) as client:
            def connections():
                return sum(map(client.client.connections, client.instances))
            tasks = [asyncio.create_task(client.predict("[]")) for _ in range(3)]
            while connections() < 3:
                await asyncio.sleep(0.01)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            print(connections(), client.client.counters.failed["CancelledError"])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            print(connections(), client.client.counters.failed["CancelledError"])
    run(main())
""",
        *DEBUG,
    )
    assert printed(ended) == ["2 1", "0 3"]


def test_a_parser_that_raises_stop_iteration_is_an_error(served: Served) -> None:
    ended = program(
        served,
        BEGIN
        + """
    class Odd:
        def to_string(self): return b"[]"
        def parse_response(self, content): raise StopIteration(1)
    async def main():
        async with client_of() as client:
            try:
                await client.predict(Odd())
            except eas_tw.BodyError as error:
                print(error)
    asyncio.run(main())
""",
    )
    assert printed(ended) == ["the response's parser raised StopIteration(1)"]


def test_loops_of_several_threads_start_their_first_clients_at_the_same_time(served: Served) -> None:
    """Only one reactor can be installed. Without a lock, both threads make a reactor before they install it."""
    ended = program(
        served,
        BEGIN
        + """
    from twisted.internet import asyncioreactor
    assert "twisted.internet.reactor" not in sys.modules
    both = threading.Barrier(2)
    class Meeting(asyncioreactor.AsyncioSelectorReactor):
        def __init__(self, *given):
            super().__init__(*given)
            try:
                both.wait(0.5)
            except threading.BrokenBarrierError:
                pass  # the other thread waits for the lock
    asyncioreactor.AsyncioSelectorReactor = Meeting
    answers = []
    async def main():
        async with client_of() as client:
            answers.append(str(await client.predict("[1]")))
    threads = [threading.Thread(target=run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(answers)
""",
    )
    assert printed(ended) == ["['[1]', '[1]']"]


def test_a_client_belongs_to_its_loop(served: Served) -> None:
    """A call on another event loop raises an error and sends nothing. Closing after the end of the loop raises none."""
    ended = program(
        served,
        BEGIN
        + """
    from eas_tw.aio import running
    client = client_of()
    async def elsewhere():
        for step in (lambda: client.predict("[]"), client.init):
            try:
                await step()
            except eas_tw.ConfigError as error:
                print(error)
    asyncio.run(client.init())
    asyncio.run(elsewhere())
    asyncio.run(client.close())
    async def unclosed():
        await client_of().init()
    for _ in range(3):
        asyncio.run(unclosed())
    print(len(running._running))
""",
    )
    one = "the client belongs to the loop that ran at its init(): make a client for each loop"
    assert printed(ended) == [one, one, "1"]


LOGGED = """
    import logging
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
    async def main():
        async with client_of() as client, client_of() as other:
            await asyncio.gather(client.predict("[]"), other.predict("[]"))
    asyncio.run(main())
"""


def test_the_client_logs_to_logging(served: Served) -> None:
    ended = program(served, BEGIN + LOGGED + "    asyncio.run(main())\n")
    lines = [line for line in printed(ended) if "list of instances changed" in line]
    assert len(lines) == 4
    assert all(line.startswith("eas_tw.upstream INFO echo: list of instances changed: +127.0.0.1:") for line in lines)
    assert TOKEN not in ended.stdout


@pytest.mark.parametrize(
    "observe",
    [
        "logger.globalLogBeginner.beginLoggingTo([logger.STDLibLogObserver()], redirectStandardIO=False)",
        "log.PythonLoggingObserver().start()",
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_forwarded_to_logging_beside_an_observer(served: Served, observe: str, when: str) -> None:
    begin, main = f"    from twisted import logger\n    from twisted.python import log\n    {observe}\n", LOGGED
    text = begin + main if when == "before" else main + begin + "    asyncio.run(main())\n"
    lines = [line for line in printed(program(served, BEGIN + text)) if "list of instances changed" in line]
    twice_before = 2 * (when == "after")
    assert sum(line.startswith("eas_tw.upstream") for line in lines) == twice_before
    assert sum(line.startswith("twisted") for line in lines) >= 2


@pytest.mark.parametrize("loop", ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])])
def test_a_client_works_on_any_loop(served: Served, loop: str) -> None:
    """The program makes a call, fails over, resolves a name and cancels a task. tox installs uvloop."""
    served.patch("echo", "echo-0", state="crashed")
    ended = program(
        served,
        f"""
    import asyncio, os, {loop}
    import eas_tw
    from eas_tw.aio import PredictClient
    async def main():
        asyncio.get_running_loop().slow_callback_duration = 600  # debug mode complains of a busy machine, too
        print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
        endpoint = os.environ["EAS_ENDPOINT"].replace("127.0.0.1", "localhost")
        client = PredictClient(
            endpoint, "echo", token=os.environ["EAS_TOKEN"], endpoint_type=eas_tw.ENDPOINT_TYPE_DIRECT,
        )
        async with client:
            answers = await asyncio.gather(*[client.predict(f"[{{number}}]") for number in range(30)])
            print([str(answer) for answer in answers] == [f"[{{number}}]" for number in range(30)])
            print(client.client.counters.failures["connect_refused"] > 0)
            call = asyncio.create_task(client.predict("[]"))
            await asyncio.sleep(0)
            call.cancel()
            try:
                await call
            except asyncio.CancelledError:
                print("cancelled")
    with asyncio.Runner(loop_factory={loop}.new_event_loop) as runner:
        runner.run(main())
""",
        *DEBUG,
    )
    assert printed(ended) == [loop, "True", "True", "cancelled"]


def test_names_are_resolved_and_no_thread_is_left(served: Served) -> None:
    """The threads for name resolution end with the event loop, also when several loops run one after the other."""
    ended = program(
        served,
        BEGIN
        + """
    async def main():
        endpoint = os.environ["EAS_ENDPOINT"].replace("127.0.0.1", "localhost")
        async with client_of(endpoint=endpoint) as client:
            return str(await client.predict("[1]"))
    for _ in range(3):
        print(run(main()), len(os.listdir("/proc/self/fd")), threading.active_count())
""",
        *DEBUG,
    )
    lines = printed(ended)
    assert lines[0].startswith("[1] ")
    assert lines[0].endswith(" 1")
    assert lines[1:] == [lines[1]] * 2


def test_an_unknown_host_is_an_error_of_init(served: Served) -> None:
    ended = program(
        served,
        BEGIN
        + """
    async def main():
        try:
            async with client_of(endpoint="http://no-such-host.invalid", init_timeout_s=0.5):
                pass
        except eas_tw.DiscoveryError as error:
            print(error)
    run(main())
""",
        *DEBUG,
    )
    (line,) = printed(ended)
    assert "no usable list of instances of echo from http://no-such-host.invalid" in line


def test_cancelling_a_task_cancels_its_call(served: Served) -> None:
    """`task.cancel` and `asyncio.timeout` cancel the call and close its connection. Errors of a call are unchanged."""
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    ended = program(
        served,
        BEGIN
        + """
    async def main():
        async with client_of() as client:
            task = asyncio.create_task(one(client))
            while not (connections := sum(map(client.client.connections, client.instances))):
                await asyncio.sleep(0.01)
            print(connections)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled", client.client.counters.failed["CancelledError"])
            try:
                async with asyncio.timeout(0.05):
                    await client.predict("[]")
            except TimeoutError:
                print("timed out", client.client.counters.failed["CancelledError"])
            try:
                await client.predict("[]", timeout_s=0.3)
            except eas_tw.DeadlineExceeded as error:
                print({attempt.outcome.attempt_status.value for attempt in error.attempts})
    async def one(client):
        await client.predict("[]")
    run(main())
""",
        *DEBUG,
    )
    assert printed(ended) == ["1", "cancelled 1", "timed out 2", "{'deadline'}"]


def test_a_running_asyncio_reactor_is_used(served: Served) -> None:
    """A Twisted program on asyncioreactor can use the asyncio client, which uses the program's reactor."""
    ended = program(
        served,
        BEGIN
        + """
    from twisted.internet import asyncioreactor
    asyncioreactor.install()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    async def main():
        async with client_of() as one, client_of("mnist") as two:
            print(one.client.reactor is reactor, two.client.reactor is reactor)
            return str(await one.predict("[1]"))
    async def under_twisted():
        print(await Deferred.fromFuture(asyncio.ensure_future(main())), reactor.running)
    react(lambda reactor: Deferred.fromCoroutine(under_twisted()))
""",
    )
    assert printed(ended) == ["True True", "[1] True"]


def test_a_foreign_reactor_is_named_in_one_line(served: Served) -> None:
    ended = program(
        served,
        BEGIN
        + """
    from twisted.internet import epollreactor
    epollreactor.install()
    async def main():
        try:
            await client_of().init()
        except eas_tw.ConfigError as error:
            print(error)
    asyncio.run(main())
""",
    )
    (line,) = printed(ended)
    assert line.startswith("eas_tw.aio needs Twisted's asyncio reactor, but this program has installed EPollReactor")


def test_a_client_made_before_the_loop_is_validated_at_once() -> None:
    client = PredictClient("127.0.0.1:1", "echo")
    client.set_timeout(250)
    with pytest.raises(ConfigError, match="endpoint_type must be one of"):
        client.set_endpoint_type("direct")
    with pytest.raises(ConfigError, match="service_name"):
        PredictClient("127.0.0.1:1", "a service")
    with pytest.raises(NoInstances, match=r"init\(\) has not been called"):
        asyncio.run(client.predict("[]"))
    assert repr(client) == "<asyncio <PredictClient echo at 127.0.0.1:1 default new instances=0>>"
    assert client.instances == ()


def test_closing_drains_and_then_cancels_calls_in_flight(served: Served) -> None:
    """Closing twice is allowed, and a closed client cannot be used again."""
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    ended = program(
        served,
        BEGIN
        + """
    async def main():
        client = client_of(drain_timeout_s=0.1)
        client.set_token(os.environ["EAS_TOKEN"])
        await client.init()
        call = asyncio.create_task(client.predict("[]"))
        await asyncio.sleep(0)
        await asyncio.gather(client.close(), client.close())
        try:
            await call
        except eas_tw.ClientClosed as error:
            print(error)
        try:
            await client.init()
        except eas_tw.ClientClosed as error:
            print(error)
        await PredictClient().destroy()
    run(main())
""",
        *DEBUG,
    )
    assert printed(ended) == ["the client was closed", "the client is closed; make a new one"]
