"""Reading discovery replies, and what changed between two lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw.policy.instances import (
    Added,
    Instance,
    Refusal,
    RefusedReplyError,
    Removed,
    Reweighted,
    changes,
    read_upstreams,
    read_vipserver,
)

SETTINGS = settings(derandomize=True, deadline=None, max_examples=200)
GOOD = {"app": "a", "ip": "172.16.0.11", "port": 50000, "weight": 100}


def upstreams(*rows: object) -> bytes:
    return json.dumps({"correlative": ["s"], "endpoints": {"items": list(rows)}}).encode()


def row(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def refusal(body: bytes) -> Refusal:
    with pytest.raises(RefusedReplyError) as caught:
        read_upstreams(body)
    return caught.value.reason


def test_the_documented_reply_is_read() -> None:
    """The reply of the vendor's document gives its two instances."""
    snapshot = read_upstreams(upstreams(GOOD, row(ip="172.16.0.12")))
    assert snapshot.instances == (Instance("172.16.0.11", 50000, 100), Instance("172.16.0.12", 50000, 100))
    assert not snapshot.bad_rows


def test_unknown_fields_are_ignored() -> None:
    """Other readers have seen more fields; they change nothing."""
    assert read_upstreams(upstreams(row(name="x", service="y", extra=[1]))).instances[0].port == 50000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Refusal.NOT_JSON),
        (b"<html>busy</html>", Refusal.NOT_JSON),
        (b"\xff\xfe", Refusal.NOT_JSON),
        (b"[" * 100_000, Refusal.NOT_JSON),
        (b"null", Refusal.WRONG_SHAPE),
        (b"[]", Refusal.WRONG_SHAPE),
        (b"{}", Refusal.WRONG_SHAPE),
        (b'{"endpoints": null}', Refusal.WRONG_SHAPE),
        (b'{"endpoints": []}', Refusal.WRONG_SHAPE),
        (b'{"endpoints": {"items": null}}', Refusal.WRONG_SHAPE),
        (b'{"endpoints": {"items": {}}}', Refusal.WRONG_SHAPE),
        (b'{"endpoints": {"items": []}}', Refusal.EMPTY_LIST),
        (b'{"endpoints": {"items": [null, null]}}', Refusal.NO_USABLE_ROW),
        (upstreams(row(port=0)), Refusal.NO_USABLE_ROW),
        (upstreams(row(weight=0), row(port=1, weight=0)), Refusal.ZERO_WEIGHTS),
    ],
)
def test_a_reply_that_leaves_nothing_is_refused(body: bytes, reason: Refusal) -> None:
    """Whatever is wrong with a whole reply has a name."""
    assert refusal(body) is reason


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (None, "row is null"),
        ("x", 'row is "x"'),
        (row(ip=None), "ip must"),
        (row(ip=""), "ip must"),
        (row(ip=3), "ip must"),
        (row(ip="a b"), "ip must"),
        (row(ip="1.2.3.4\r\nX: y"), "ip must"),
        (row(ip="::g"), "ip must"),
        (row(port="50000"), "port must"),
        (row(port=True), "port must"),
        (row(port=65536), "port must"),
        (row(port=-1), "port must"),
        (row(port=1.5), "port must"),
        (row(weight=-1), "weight must"),
        (row(weight="100"), "weight must"),
        (row(weight=None), "weight must"),
        (row(weight=True), "weight must"),
        (row(weight=float("nan")), "weight must"),
        (row(weight=float("inf")), "weight must"),
        (row(weight=10**300), "weight must"),
        ({"ip": "1.2.3.4", "port": 1}, "weight must"),
    ],
)
def test_a_bad_row_is_dropped_alone(bad: object, says: str) -> None:
    """One bad row costs itself, is counted with its reason, and leaves the good ones."""
    snapshot = read_upstreams(upstreams(bad, row(ip="10.0.0.9")))
    assert snapshot.instances == (Instance("10.0.0.9", 50000, 100),)
    ((reason, count),) = snapshot.bad_rows.items()
    assert reason.startswith(says)
    assert count == 1
    assert len(reason) < 120


def test_duplicates_merge() -> None:
    """A row given twice is one instance; of two weights the greater counts."""
    snapshot = read_upstreams(upstreams(GOOD, GOOD, row(weight=7), row(ip="10.0.0.9", weight=1)))
    assert snapshot.instances == (Instance("172.16.0.11", 50000, 100), Instance("10.0.0.9", 50000, 1))


def test_weight_zero_stays_in_the_list() -> None:
    """It is in the list and gets no picks, as long as another one does."""
    assert [i.weight for i in read_upstreams(upstreams(row(weight=0), row(port=1))).instances] == [0, 100]


def test_ipv6_is_bracketed_in_addresses() -> None:
    """An IPv6 address is normalised, and bracketed where it meets a port."""
    (instance,) = read_upstreams(upstreams(row(ip="FE80:0::1"))).instances
    assert instance.address == "[fe80::1]:50000"


def test_vipserver_rows_that_are_not_valid_are_left_out() -> None:
    """`valid: false` leaves a row out, without calling it bad."""
    hosts = [
        {"ip": "1.1.1.1", "port": 80, "weight": 1, "valid": True},
        {"ip": "1.1.1.2", "port": 80, "weight": 1, "valid": False},
    ]
    snapshot = read_vipserver(json.dumps({"hosts": hosts}).encode())
    assert snapshot.instances == (Instance("1.1.1.1", 80, 1),)
    assert not snapshot.bad_rows
    for body, reason in ((b"{}", Refusal.WRONG_SHAPE), (b'{"hosts": []}', Refusal.EMPTY_LIST)):
        with pytest.raises(RefusedReplyError) as caught:
            read_vipserver(body)
        assert caught.value.reason is reason


def test_changes_are_computed_once_and_in_order() -> None:
    """Removals first, then additions and new weights in the order of the new list."""
    a, b, c = Instance("a", 1, 1), Instance("b", 1, 1), Instance("c", 1, 1)
    assert changes([a, b], [b._replace(weight=5), c]) == (Removed(a), Reweighted(Instance("b", 1, 5), 1), Added(c))
    assert changes([a, b], [b, a]) == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ip", "port", "weight"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@SETTINGS
@given(json_values)
def test_any_json_is_a_snapshot_or_a_refusal(rows: object) -> None:
    """No reply, whatever its rows, raises anything else; what is accepted can be used."""
    try:
        snapshot = read_upstreams(json.dumps({"endpoints": {"items": rows}}).encode())
    except RefusedReplyError:
        return
    assert any(instance.weight > 0 for instance in snapshot.instances)
    assert len({instance.key for instance in snapshot.instances}) == len(snapshot.instances)


@SETTINGS
@given(st.binary(max_size=200))
def test_any_bytes_are_a_refusal(body: bytes) -> None:
    """Random bytes never raise anything but a refusal."""
    with pytest.raises(RefusedReplyError):
        read_upstreams(body)
