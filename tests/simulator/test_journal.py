"""The journal of requests: size, row numbers, filters and counts."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from simulator.journal import MAX_ACCOUNTS, MAX_PATH, MAX_ROWS, Journal, Matcher, MatchError, Row


def row(number: int = 0, **more: Any) -> Row:
    values = {"at": float(number), "service": "s", "instance": "s-0", "method": "POST", "path": "/p", "status": 200}
    numbers = {"fault": "", "bytes_in": 1, "bytes_out": 2, "elapsed_s": 0.004}
    return Row(**{**values, **numbers, **more})


def journal(*rows: Row) -> Journal:
    made = Journal()
    for one in rows:
        made.write(one)
    return made


def test_the_journal_of_a_day_is_bounded() -> None:
    """Old rows are dropped. Row numbers and counts continue."""
    made = Journal()
    for number in range(MAX_ROWS + 50_000):
        made.write(row(number, path=f"/p?{number}"))
    assert (len(made.rows), made.total) == (MAX_ROWS, MAX_ROWS + 50_000)
    assert made.account("s-0").requests == made.total
    numbers = [number for number, _ in made.newest(2)]
    assert numbers == [made.total - 1, made.total]
    assert made.newest(MAX_ROWS)[0][0] == 50_001
    sizes = [
        sys.getsizeof(one) + sum(sys.getsizeof(getattr(one, name)) for name in ("path", "at")) for one in made.rows
    ]
    assert max(sizes) < 600


def test_a_long_path_is_cut() -> None:
    """The path may have up to 64 KiB, the limit of a request head."""
    ((_, kept),) = journal(row(path="/" * 60_000)).newest(1)
    assert len(kept.path) == MAX_PATH + 1


def test_the_number_of_removed_instances_with_counts_is_bounded() -> None:
    made = journal(*(row(instance=f"s-{number}") for number in range(MAX_ACCOUNTS + 3)))
    assert len(made.accounts) == MAX_ACCOUNTS
    assert made.account("s-2").requests == 0
    assert made.account("s-3").requests == 1


def test_the_newest_matching_rows_are_returned_in_order() -> None:
    made = journal(row(), row(status=503), row(instance="s-1", status=500), row(status=503))
    assert [number for number, _ in made.newest(10, Matcher(status_class=5))] == [2, 3, 4]
    assert [number for number, _ in made.newest(1, Matcher(status_class=5))] == [4]
    assert [number for number, _ in made.newest(10, Matcher({"status": 503}))] == [2, 4]
    assert [number for number, _ in made.newest(10, Matcher({"instance": "s-0"}, after=1))] == [2, 4]
    assert made.newest(0) == []


def test_counting_is_by_equal_fields() -> None:
    made = journal(row(), row(status=503), row(instance="s-1", status=503))
    assert made.count(Matcher.from_json({})) == 3
    assert made.count(Matcher.from_json({"status": 503, "instance": "s-1"})) == 1
    assert made.count(Matcher.from_json({"elapsed_s": 0.004})) == 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"colour": 1}, "$.colour: unknown"),
        ({"status": "200"}, "$.status: expected a whole number, got '200'"),
        ({"status": True}, "$.status: expected a whole number"),
        ({"instance": 5}, "$.instance: expected a string, got '5'"),
        ({"at": "now"}, "$.at: expected a number"),
    ],
)
def test_a_matcher_that_can_never_match_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(MatchError) as caught:
        Matcher.from_json(given)
    assert str(caught.value).startswith(says)


def test_an_instance_has_counts_of_its_requests() -> None:
    made = journal(row(), row(status=0, fault="f"), row(status=503, elapsed_s=20.0), row(elapsed_s=0.001))
    account = made.account("s-0")
    assert (account.requests, account.failures, account.faulty) == (4, 2, 1)
    assert dict(account.statuses) == {200: 2, 0: 1, 503: 1}
    assert (account.bytes_in, account.bytes_out) == (4, 8)
    assert (account.slower[0], account.slower[2], account.slower[-1], sum(account.slower)) == (1, 2, 1, 4)
