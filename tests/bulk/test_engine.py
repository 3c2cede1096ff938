"""A job from its rows to its outputs, on a `twisted.internet.task.Clock`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from eas_tw import AttemptResult, AttemptStatus, BodyError, Instance, Outcome, StatusError
from eas_tw.bulk import ErrorRow, JobOptions, TooManyErrors
from eas_tw.bulk.engine import Engine, each_to
from eas_tw.bulk.job import Job
from tests.bulk.driving import Run
from tests.net.calling import Result

ATTEMPTS = (AttemptResult(Instance("10.0.0.1", 80), Outcome(AttemptStatus.STATUS, 400), 0.25),)


def bad_request() -> StatusError:
    return StatusError("status 400", ATTEMPTS, status=400)


def test_at_most_in_flight_requests_run_and_rows_are_read_as_they_are_needed() -> None:
    read: list[int] = []

    def rows() -> Iterator[int]:
        for number in range(1_000_000):
            read.append(number)
            yield number

    run = Run(rows(), in_flight=3, order_buffer=0)
    assert run.sent == read == [0, 1, 2]
    run.answer(0)
    assert run.sent == read == [0, 1, 2, 3]
    run.answer(2)
    assert run.sent == read == [0, 1, 2, 3], "row 1 is still awaited, and there is no order buffer"
    run.answer(1)
    assert run.sent == read == [0, 1, 2, 3, 4, 5]


def test_finished_rows_wait_for_an_earlier_one_up_to_the_order_buffer() -> None:
    run = Run(range(100), in_flight=2, order_buffer=3)
    run.answer(1, 2, 3, 4)
    assert run.sent == [0, 1, 2, 3, 4]
    assert run.outputs == []
    run.answer(0)
    assert run.outputs == ["of 0", "of 1", "of 2", "of 3", "of 4"]
    assert run.sent == [0, 1, 2, 3, 4, 5, 6]


@given(st.randoms(use_true_random=False), st.integers(1, 5), st.integers(0, 4), st.integers(0, 30), st.integers(1, 4))
def test_outputs_come_in_the_order_of_the_rows_each_once(
    rng: random.Random, in_flight: int, order_buffer: int, count: int, batch_size: int
) -> None:
    """Outputs are in the order of the rows, for any order of the responses and with failed rows."""
    run = Run(
        range(count),
        in_flight=in_flight,
        order_buffer=order_buffer,
        batch_size=batch_size,
        encode_batch=tuple,
        decode_batch=lambda _, response: response,
    )
    while run.calls:
        key = rng.choice(list(run.calls))
        if rng.random() < 0.3:
            run.fail(key, bad_request())
        else:
            run.answer(key)
        assert len(run.calls) <= in_flight
    report = run.result.value
    positions = [out.position if isinstance(out, ErrorRow) else int(out.split()[1]) for out in run.outputs]
    assert positions == list(range(count))
    assert (report.rows, report.failed) == (count, sum(isinstance(out, ErrorRow) for out in run.outputs))
    assert report.requests == len(run.sent)


def test_unordered_outputs_are_in_the_order_of_their_responses() -> None:
    run = Run(range(4), in_flight=2, ordered=False)
    run.answer(1, 2, 3, 0)
    assert run.outputs == ["of 1", "of 2", "of 3", "of 0"]
    assert run.result.value.rows == 4


def test_a_row_that_fails_is_an_error_row_in_its_place() -> None:
    run = Run(["a", "b", "c"], in_flight=3)
    run.answer("a", "c")
    run.fail("b", bad_request())
    assert run.outputs == ["of a", ErrorRow(1, "b", "StatusError", "status 400", ATTEMPTS), "of c"]
    report = run.result.value
    assert (report.rows, report.succeeded, report.failed, report.errors) == (3, 2, 1, {"StatusError": 1})


def test_an_error_row_can_be_written_as_json() -> None:
    attempt = {"instance": "10.0.0.1:80", "outcome": "status 400", "elapsed_s": 0.25}
    assert ErrorRow.of(7, {"x": 1}, bad_request()).as_dict() == {
        "row": 7,
        "input": {"x": 1},
        "error": "StatusError",
        "message": "status 400",
        "attempts": [attempt],
    }


def test_a_row_that_cannot_be_encoded_or_decoded_is_an_error_row_and_others_go_on() -> None:
    def decode(row: int, response: str) -> str:
        if row == 3:
            raise KeyError("score")
        return response

    run = Run(range(5), in_flight=2, encode=lambda row: "abc"[row] if row < 2 else str(row), decode=decode)
    run.answer_all()
    assert [type(output) for output in run.outputs] == [str, str, str, ErrorRow, str]
    run = Run([0, 9, 1], encode=lambda row: "ab"[row])
    run.answer_all()
    assert run.outputs == ["of a", ErrorRow(1, 9, "IndexError", "string index out of range"), "of b"]
    assert run.result.value.requests == 2


def test_thousands_of_rows_that_cannot_be_encoded_do_not_recurse() -> None:
    run = Run(range(5_000), encode=lambda row: row / 0)
    assert len(run.outputs) == 5_000
    assert run.result.value.errors == {"ZeroDivisionError": 5_000}


def test_requests_that_end_at_once_do_not_recurse() -> None:
    outputs: list[Any] = []
    clock = Clock()
    job = Job(range(5_000), JobOptions(encode=str, decode=lambda _, response: response), clock.seconds())
    result = Result(Engine(job, succeed, clock, each_to(outputs.append, lambda given: given)).run())
    assert outputs == list(map(str, range(5_000)))
    assert result.value.rows == 5_000


def test_on_error_raise_ends_with_the_error_of_the_row_and_cancels_the_others() -> None:
    run = Run(["a", "b", "c"], in_flight=2, on_error="raise")
    error = bad_request()
    run.fail("b", error)
    assert run.result.error is error
    assert error.__notes__ == ["row 1 (from 0): 'b'"]
    assert run.cancelled == ["a"]
    assert run.sent == ["a", "b"]


def test_max_errors_counts_rows() -> None:
    run = Run(range(10), in_flight=1, max_errors=1)
    run.fail(0, bad_request())
    run.answer(1)
    assert not run.result.fired
    run.fail(2, BodyError("no JSON"))
    error = run.result.error
    assert isinstance(error, TooManyErrors)
    assert str(error) == (
        "2 of 3 rows failed (StatusError 1, BodyError 1); max_errors allows 1 rows; the last error: no JSON"
    )
    assert (error.report.rows, error.report.failed) == (3, 2)
    assert run.sent == [0, 1, 2]


def test_a_share_of_errors_is_considered_from_a_hundred_rows_on() -> None:
    run = Run(range(1000), in_flight=1, max_errors=0.5)
    for number in range(99):
        run.fail(number, bad_request())
    assert not run.result.fired
    run.fail(99, bad_request())
    assert "100 of 100 rows failed (StatusError 100); max_errors allows 0.5 of the rows" in str(run.result.error)


def test_a_share_of_errors_is_considered_at_the_end_of_few_rows() -> None:
    run = Run(range(4), max_errors=0.25)
    run.answer(0, 1)
    run.fail(2, bad_request())
    run.fail(3, bad_request())
    assert "2 of 4 rows failed" in str(run.result.error)
    assert len(run.outputs) == 4
    run = Run(range(4), max_errors=0.5)
    run.answer(0, 1)
    run.fail(2, bad_request())
    run.fail(3, bad_request())
    assert run.result.value.failed == 2


def test_the_rate_holds_over_time_and_a_busy_start_makes_no_burst() -> None:
    run = Run(range(10_000), in_flight=1000, rate_per_s=200)
    for _ in range(500):
        run.answer_all()
        run.clock.advance(0.01)
    assert abs(len(run.sent) / 5 - 200) / 200 <= 0.05
    assert sum(at < 1 for at in run.sent_at) <= 201


def test_the_rate_counts_the_rows_of_batches() -> None:
    run = Run(range(10_000), in_flight=1000, rate_per_s=100, batch_size=8, encode_batch=tuple)
    for _ in range(500):
        run.clock.advance(0.01)
    assert abs(len(run.sent) * 8 / 5 - 100) / 100 <= 0.05


def test_a_sink_that_is_busy_holds_up_the_reading_of_rows() -> None:
    gates: list[Deferred[None]] = []
    taken: list[Any] = []

    def sink(output: Any) -> Deferred[None]:
        taken.append(output)
        gates.append(Deferred())
        return gates[-1]

    run = Run(range(100), sink, in_flight=2, order_buffer=0)
    run.answer(0, 1)
    assert (taken, run.sent) == (["of 0"], [0, 1])
    gates[0].callback(None)
    assert run.sent == [0, 1, 2]
    assert taken == ["of 0", "of 1"]
    gates[1].callback(None)
    run.answer(2, 3)
    assert taken == ["of 0", "of 1", "of 2"]


@pytest.mark.parametrize("way", ["raised", "deferred"])
def test_an_exception_of_the_sink_ends_the_job(way: str) -> None:
    def sink(_: Any) -> Any:
        error = OSError("no space left on device")
        if way == "deferred":
            return fail(error)
        raise error

    run = Run(range(100), sink, in_flight=2)
    run.answer(0)
    assert str(run.result.error) == "no space left on device"
    assert run.cancelled == [1]


def test_an_exception_of_the_rows_ends_the_job() -> None:
    def rows() -> Iterator[int]:
        yield 0
        raise OSError("the disk is gone")

    run = Run(rows())
    assert str(run.result.error) == "the disk is gone"
    assert run.cancelled == [0]


def test_cancelling_cancels_the_requests_and_leaves_no_timer() -> None:
    run = Run(range(100), in_flight=2, rate_per_s=1)
    run.clock.advance(1)
    assert len(run.calls) == 2
    run.answer(0)
    run.result.deferred.cancel()
    assert isinstance(run.result.error, CancelledError)
    assert run.cancelled == [1]
    assert run.clock.getDelayedCalls() == []


def test_no_rows_are_a_job_without_requests() -> None:
    run = Run([])
    assert (run.outputs, run.result.value.rows, run.result.value.rows_per_s) == ([], 0, 0)


class TestBatches:
    """Several rows in one request."""

    def test_a_batch_is_one_request_and_the_last_may_be_smaller(self) -> None:
        run = Run(range(7), batch_size=3, encode_batch=tuple, decode_batch=lambda _, response: response)
        assert run.sent == [(0, 1, 2), (3, 4, 5), (6,)]
        run.answer_all()
        assert run.outputs == [f"of {number}" for number in range(7)]
        assert run.result.value.requests == 3

    def test_a_poison_row_is_one_error_row(self) -> None:
        run = Run(range(8), batch_size=8, encode_batch=tuple, decode_batch=lambda _, response: response)
        while run.calls:
            key = next(iter(run.calls))
            if 5 in key:
                run.fail(key, bad_request())
            else:
                run.answer(key)
        assert [output.position for output in run.outputs if isinstance(output, ErrorRow)] == [5]
        assert len(run.outputs) == 8
        assert len(run.sent) == 7, "halves of halves, not one request for each row"

    @pytest.mark.parametrize("status", [401, 429, 503])
    def test_a_status_that_smaller_requests_would_get_too_splits_nothing(self, status: int) -> None:
        run = Run(range(8), batch_size=8, encode_batch=tuple)
        run.fail(tuple(range(8)), StatusError("no", status=status))
        assert len(run.sent) == 1
        assert len(run.outputs) == 8

    def test_a_response_with_another_number_of_outputs_is_no_response(self) -> None:
        run = Run([1, 2], batch_size=2, encode_batch=tuple, decode_batch=lambda _rows, _response: [])
        run.answer_all()
        assert [output.message for output in run.outputs] == ["the response has 0 outputs for 1 rows"] * 2


class Stop(BaseException):
    """A `BaseException` such as `KeyboardInterrupt`: it ends the job, and is not recorded as the error of a row."""


class Mute(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("place", ["rows", "encode", "decode", "sink", "sink later"])
@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_of_a_row_ends_the_job_and_cancels_its_requests(place: str, kind: type[BaseException]) -> None:
    waiting: Deferred[None] = Deferred()

    def rows() -> Iterator[int]:
        yield from range(3)
        if place == "rows":
            raise kind
        yield from range(3, 9)

    def raising(*arguments: Any) -> Any:
        if arguments[0] in (3, "of 3"):
            raise kind
        return arguments[-1]

    def sink(output: Any) -> Any:
        return waiting if place == "sink later" else raising(output) if place == "sink" else None

    options = {"encode": raising} if place == "encode" else {"decode": raising} if place == "decode" else {}
    run = Run(rows(), sink, in_flight=3, ordered=False, **options)
    if not run.result.fired:
        run.answer(0)
    if place == "sink later":
        waiting.errback(kind())
    elif not run.result.fired:
        run.answer(3)
    assert isinstance(run.result.error, kind)
    assert sorted(run.cancelled) == sorted(run.calls)
    assert not run.clock.getDelayedCalls()


def test_an_error_without_a_text_is_an_error_row_like_others() -> None:
    def decode(row: int, response: str) -> str:
        if row == 1:
            raise Mute
        return response

    run = Run(range(3), decode=decode)
    run.answer_all()
    assert run.outputs == ["of 0", ErrorRow(1, 1, "Mute", "Mute, whose text cannot be made: RuntimeError"), "of 2"]
    assert run.result.value.errors == {"Mute": 1}
