"""Scoring over real sockets with each kind of client, while an instance is down and some rows fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import as_completed
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

import eas_tw
import eas_tw.aio
import eas_tw.blocking
from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, ConfigError, JsonRequest
from eas_tw.bulk import ErrorRow, Scoring, TokenBucket, TooManyErrors, score, score_partition
from tests.integration.conftest import TOKEN
from tests.integration.programs import printed, program
from tests.patience import PATIENT
from tests.simulator.serving import Served

ROWS = [{"id": number} for number in range(300)]
OPTIONS: dict[str, Any] = {"encode": JsonRequest, "decode": lambda row, response: (row["id"], response.data["id"])}
EXPECTED = [(number, number) for number in range(300)]


def given(served: Served) -> dict[str, Any]:
    return {
        "endpoint": served.ready["url"],
        "service_name": "echo",
        "token": TOKEN,
        "endpoint_type": ENDPOINT_TYPE_DIRECT,
        "config": ClientConfig(**PATIENT),
    }


def scoring(served: Served, **options: Any) -> Scoring:
    return Scoring(served.ready["url"], "echo", token_source=lambda: TOKEN, config=ClientConfig(**PATIENT), **options)


@pytest_twisted.ensureDeferred
async def test_twisted(served: Served) -> None:
    served.patch("echo", "echo-0", state="crashed")
    outputs: list[Any] = []
    client = eas_tw.PredictClient(**given(served), reactor=reactor)
    report = await score(ROWS, outputs.append, client=client, in_flight=16, **OPTIONS)
    await client.close()
    assert outputs == EXPECTED
    assert (report.rows, report.failed, report.requests) == (300, 0, 300)


def test_asyncio_with_a_sink_that_is_a_coroutine_function(served: Served) -> None:
    """The program runs in a subprocess, because the reactor of the test process is not an asyncio reactor."""
    ended = program(
        served,
        """
        import asyncio, os
        import eas_tw.aio
        from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, JsonRequest
        from eas_tw.bulk import score

        async def main():
            outputs = []
            async def sink(output):
                await asyncio.sleep(0)
                outputs.append(output)
            rows = [{"id": number} for number in range(100)]
            async with eas_tw.aio.PredictClient(
                os.environ["EAS_ENDPOINT"], "echo", token=os.environ["EAS_TOKEN"], endpoint_type=ENDPOINT_TYPE_DIRECT
            ) as client:
                report = await eas_tw.aio.score(rows, sink, client=client, in_flight=8)
                job = asyncio.ensure_future(score(iter(int, 1), sink, client=client, in_flight=8))
                while len(outputs) < 200:
                    await asyncio.sleep(0)
                job.cancel()
                try:
                    await job
                except asyncio.CancelledError:
                    print("cancelled")

                async def stuck(_):
                    try:
                        reached.set()
                        await asyncio.Event().wait()
                    finally:
                        print("the sink too")

                reached = asyncio.Event()
                job = asyncio.ensure_future(score(iter(int, 1), stuck, client=client, in_flight=8))
                await reached.wait()
                job.cancel()
                await asyncio.wait([job], timeout=30)
                print(job.cancelled())
            print(report.rows, outputs[:100] == rows)

        asyncio.run(main())
        """,
    )
    assert printed(ended) == ["cancelled", "the sink too", "True", "100 True"]


def test_threads(served: Served) -> None:
    served.patch("echo", "echo-0", state="crashed")
    outputs: list[Any] = []
    with eas_tw.blocking.PredictClient(**given(served)) as client:
        report = eas_tw.blocking.score(ROWS, outputs.append, client=client, in_flight=16, **OPTIONS)
        assert outputs == EXPECTED
        assert (report.rows, report.failed) == (300, 0)
        outputs.clear()
        report = score(["[1]", "\ud800", "[2]"], outputs.append, client=client)
    assert [type(output).__name__ for output in outputs] == ["str", "ErrorRow", "str"]
    assert outputs[1].error_type == "BodyError"
    assert (report.rows, report.errors) == (3, {"BodyError": 1})


def test_a_partition_makes_its_own_client_and_closes_it(served: Served) -> None:
    before = threading.active_count()
    outputs = list(score_partition(ROWS, scoring(served, **OPTIONS)))
    assert outputs == EXPECTED
    assert threading.active_count() <= before + 1, "the reactor thread of all blocking clients"


def test_threads_share_a_client_and_a_bucket(served: Served) -> None:
    options = scoring(served, in_flight=4, rate_per_s=1e6, **OPTIONS)
    results: dict[int, list[Any]] = {}
    bucket = TokenBucket(1e6)
    with options.make_client() as client:

        def work(number: int) -> None:
            results[number] = list(score_partition(ROWS[number::4], options, client=client, bucket=bucket))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.counters.answered == 300
    assert sorted(output for found in results.values() for output in found) == EXPECTED


def test_leaving_a_partition_early_reads_no_more_rows_and_cancels_the_calls(served: Served) -> None:
    read: list[int] = []

    def rows() -> Iterator[int]:
        for number in range(10**9):
            read.append(number)
            yield number

    options = scoring(served, in_flight=4, order_buffer=0)
    with options.make_client() as client:
        partition = score_partition(rows(), options, client=client)
        assert [next(partition) for _ in range(10)] == list(range(10))
        partition.close()
        assert len(read) <= 10 + 4 + 1
        assert client.predict(b"[1]").content == b"[1]"


def test_a_poison_row_is_one_error_row_with_its_attempts(served: Served) -> None:
    rule = {"type": "http_status", "target": {"service": "echo"}, "attributes": {"code": 400, "body": "bad row"}}
    assert served.admin("POST", "/v1/faults", {**rule, "times": 1})[0] == 201
    outputs = list(score_partition([1, 2, 3], scoring(served, in_flight=1)))
    first = outputs[0]
    assert isinstance(first, ErrorRow)
    assert (first.position, first.input, first.error_type) == (0, 1, "StatusError")
    assert [str(attempt.outcome) for attempt in first.attempts] == ["status 400"]
    assert json.loads(json.dumps(first.as_dict()))["input"] == 1
    assert outputs[1:] == [2, 3]


def test_a_job_with_too_many_errors_ends_early(served: Served) -> None:
    wrong = scoring(served, max_errors=5, in_flight=2).but(token_source=lambda: "wrong")
    with pytest.raises(TooManyErrors, match=r"6 of 6 rows failed \(StatusError 6\); max_errors allows 5 rows"):
        list(score_partition(range(1000), wrong))


@pytest_twisted.ensureDeferred
async def test_a_service_that_cannot_be_found_fails_the_job(served: Served) -> None:
    client = eas_tw.PredictClient(
        **{**given(served), "service_name": "nobody", "config": ClientConfig(init_timeout_s=0.2)}, reactor=reactor
    )
    with pytest.raises(eas_tw.DiscoveryError):
        await score([1], print, client=client)
    await client.close()


def test_an_object_that_is_no_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="client must be a PredictClient of eas_tw"):
        score([], print, client=None)


class TestSubmit:
    """`submit` starts a call without waiting for its response."""

    def test_one_thread_has_many_calls_in_flight(self, served: Served) -> None:
        with eas_tw.blocking.PredictClient(**given(served)) as client:
            futures = [client.submit(JsonRequest([number])) for number in range(50)]
            assert sorted(future.result().data[0] for future in as_completed(futures)) == list(range(50))

    def test_errors_are_those_of_predict(self, served: Served) -> None:
        with eas_tw.blocking.PredictClient(**{**given(served), "token": "wrong"}) as client:
            future = client.submit(b"[1]")
            with pytest.raises(eas_tw.blocking.PredictException) as caught:
                future.result()
            assert caught.value.code == 401
            error = future.exception()
            assert isinstance(error, eas_tw.blocking.PredictException)
            assert isinstance(error.__cause__, eas_tw.StatusError)
            with pytest.raises(eas_tw.blocking.PredictException, match="str, bytes or a buffer"):
                client.submit(3)

    def test_a_call_in_the_reactors_thread_is_refused(self, served: Served) -> None:
        refused: list[str] = []

        def heard(_: object) -> None:
            try:
                client.submit(b"[2]")
            except RuntimeError as error:
                refused.append(str(error))

        with eas_tw.blocking.PredictClient(**given(served)) as client:
            client.wait_until_ready()
            stop = client.listen(heard)  # listeners are called in the reactor's thread
            client.submit(b"[1]").result()
            client.predict(b"[3]")  # ends after the events of the previous call have been delivered
            stop()
        assert refused
        assert "reactor's own thread" in refused[0]
