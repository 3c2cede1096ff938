"""Parsing of discovery replies, and the changes between two lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw.policy.instances import (
    MAX_INSTANCES,
    Added,
    DiscoveryReplyRejected,
    Instance,
    RejectReason,
    Removed,
    Reweighted,
    RowFault,
    changes,
    read_upstreams,
    read_vipserver,
    upstreams_in_steps,
)

SETTINGS = settings(derandomize=True, deadline=None, max_examples=200)
GOOD = {"app": "a", "ip": "172.16.0.11", "port": 50000, "weight": 100}


def upstreams(*rows: object) -> bytes:
    return json.dumps({"correlative": ["s"], "endpoints": {"items": list(rows)}}).encode()


def row(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def rejection(body: bytes) -> RejectReason:
    with pytest.raises(DiscoveryReplyRejected) as caught:
        read_upstreams(body)
    return caught.value.reason


def test_the_documented_reply_is_read() -> None:
    snapshot = read_upstreams(upstreams(GOOD, row(ip="172.16.0.12")))
    assert snapshot.instances == (Instance("172.16.0.11", 50000, 100), Instance("172.16.0.12", 50000, 100))
    assert not snapshot.bad_rows


def test_unknown_fields_are_ignored() -> None:
    assert read_upstreams(upstreams(row(name="x", service="y", extra=[1]))).instances[0].port == 50000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", RejectReason.NOT_JSON),
        (b"<html>busy</html>", RejectReason.NOT_JSON),
        (b"\xff\xfe", RejectReason.NOT_JSON),
        (b"[" * 100_000, RejectReason.NOT_JSON),
        (b"null", RejectReason.WRONG_SHAPE),
        (b"[]", RejectReason.WRONG_SHAPE),
        (b"{}", RejectReason.WRONG_SHAPE),
        (b'{"endpoints": null}', RejectReason.WRONG_SHAPE),
        (b'{"endpoints": []}', RejectReason.WRONG_SHAPE),
        (b'{"endpoints": {"items": null}}', RejectReason.WRONG_SHAPE),
        (b'{"endpoints": {"items": {}}}', RejectReason.WRONG_SHAPE),
        (b'{"endpoints": {"items": []}}', RejectReason.EMPTY_LIST),
        (b'{"endpoints": {"items": [null, null]}}', RejectReason.NO_USABLE_ROW),
        (upstreams(row(port=0)), RejectReason.NO_USABLE_ROW),
        (upstreams(row(weight=0), row(port=1, weight=0)), RejectReason.ZERO_WEIGHTS),
    ],
)
def test_a_reply_without_a_valid_row_is_rejected(body: bytes, reason: RejectReason) -> None:
    assert rejection(body) is reason


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
        (["x"] * 10_000, "row is a list"),
        (row(ip="x y" * 10_000), "ip must"),
        (row(ip={"a": 1}), "ip must"),
        (row(weight=-(10**600)), "weight must"),
    ],
)
def test_a_bad_row_is_dropped_alone(bad: object, says: str) -> None:
    """The row is counted by the reason for which it is bad."""
    snapshot = read_upstreams(upstreams(bad, row(ip="10.0.0.9")))
    assert snapshot.instances == (Instance("10.0.0.9", 50000, 100),)
    ((fault, count),) = snapshot.bad_rows.items()
    assert count == 1
    assert fault in set(RowFault)
    assert list(snapshot.examples) == [fault]
    assert snapshot.examples[fault].startswith(says)
    assert len(snapshot.examples[fault]) < 120


LONG_NUMBER = b"9" * 5_000
DEEP = b"[" * 2_000 + b"]" * 2_000


@pytest.mark.parametrize("value", [LONG_NUMBER, b"-" + LONG_NUMBER, b"1e999999", DEEP], ids=["9", "-9", "1e", "["])
@pytest.mark.parametrize("field", ["weight", "port", "ip", "extra"])
def test_a_value_that_python_cannot_convert_makes_only_its_row_bad(field: str, value: bytes) -> None:
    """Examples are an integer of 5,000 digits, an infinite number, and 2,000 nested brackets, in any field."""
    rows = b", ".join((json.dumps(GOOD).encode(), b'{"%b": %b, "port": 1}' % (field.encode(), value), b"3 "))
    body = b'{"extra": %b, "endpoints": {"x": [%b], "items": [%b]}, "y": %b}' % (value, value, rows, value)
    snapshot = read_upstreams(body)
    assert snapshot.instances == (Instance("172.16.0.11", 50000, 100),)
    assert snapshot.bad_rows.total() == 2
    assert all(len(example) < 120 for example in snapshot.examples.values())


def test_a_field_that_is_not_used_may_have_any_value() -> None:
    rows = json.dumps(GOOD).encode()[:-1] + b', "extra": %b}' % LONG_NUMBER
    assert read_upstreams(b'{"endpoints": {"items": [%b]}}' % rows).instances[0].port == 50000


@pytest.mark.parametrize(
    "body",
    [
        b'{"endpoints": {"items": [%b]' % json.dumps(GOOD).encode(),
        b'{"endpoints": {"items": [%b,]}}' % json.dumps(GOOD).encode(),
        b'{"endpoints": {"items": [%b %b]}}' % (json.dumps(GOOD).encode(), json.dumps(GOOD).encode()),
        b'{"endpoints": {"items": [%b]}} x' % json.dumps(GOOD).encode(),
        b'{"endpoints": {"items": [%b]}, }' % json.dumps(GOOD).encode(),
        b'{"endpoints": {"items": [%b]} "a": 1}' % json.dumps(GOOD).encode(),
        b'{1: 2, "endpoints": {"items": [%b]}}' % json.dumps(GOOD).encode(),
        b'{"endpoints" {"items": [%b]}}' % json.dumps(GOOD).encode(),
        b'{"endpoints": {"items": [%b' % (b"[" * 100_000),
        b'{"endpoints": {"items": [%b, "' % json.dumps(GOOD).encode(),
    ],
)
def test_a_reply_that_is_not_json_is_rejected_even_after_valid_rows(body: bytes) -> None:
    assert rejection(body) is RejectReason.NOT_JSON


def test_whitespace_and_the_order_of_fields_do_not_matter() -> None:
    """A byte order mark and UTF-16 are accepted. If a key occurs twice, the last value is used."""
    text = json.dumps({"z": [1], "endpoints": {"a": {}, "items": [GOOD, row(port=2)], "b": "]"}}, indent=3)
    twice = text.replace('"items"', '"items": [], "items"')
    for body in (text.encode("utf-8-sig"), text.encode("utf-16"), b"\n\t" + twice.encode() + b"\r\n"):
        assert [instance.port for instance in read_upstreams(body).instances] == [50000, 2]


def test_the_number_of_used_rows_is_bounded() -> None:
    """All further rows are counted under one reason, with one example."""
    many = [row(port=port, ip=f"10.0.0.{host}") for host in range(2) for port in range(1, 10_001)]
    bad = [row(port=-port) for port in range(1, 20_001)]
    snapshot = read_upstreams(upstreams(*bad, *many, GOOD))
    assert len(snapshot.instances) == MAX_INSTANCES
    assert snapshot.bad_rows == {"port": 20_000, "beyond_limit": 10_001}
    assert snapshot.examples["port"] == "port must be a whole number from 1 to 65535, got -1"


def test_a_rejection_is_short_however_many_rows_it_is_for() -> None:
    with pytest.raises(DiscoveryReplyRejected) as caught:
        read_upstreams(upstreams(*(row(port=-port, ip="x y" * 1_000) for port in range(20_000)), None, row(weight="x")))
    assert caught.value.reason is RejectReason.NO_USABLE_ROW
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("bad", [GOOD, {}, None, row(extra="x" * 5_000)], ids=["good", "empty", "null", "long"])
def test_the_steps_of_reading_are_bounded(bad: object) -> None:
    number = 20_000 if bad is None or len(str(bad)) < 1_000 else 500
    body = upstreams(GOOD, *([bad] * number))
    steps = sum(1 for _ in upstreams_in_steps(body))
    assert steps >= max(len(body), 64 * number) // 2**17


def test_duplicate_rows_are_merged() -> None:
    """The greater of two weights is used."""
    snapshot = read_upstreams(upstreams(GOOD, GOOD, row(weight=7), row(ip="10.0.0.9", weight=1)))
    assert snapshot.instances == (Instance("172.16.0.11", 50000, 100), Instance("10.0.0.9", 50000, 1))


def test_weight_zero_stays_in_the_list() -> None:
    """An instance with weight 0 gets no calls while another one has a weight above 0."""
    assert [i.weight for i in read_upstreams(upstreams(row(weight=0), row(port=1))).instances] == [0, 100]


def test_ipv6_is_bracketed_in_addresses() -> None:
    """An IPv6 address is normalised, too."""
    (instance,) = read_upstreams(upstreams(row(ip="FE80:0::1"))).instances
    assert instance.address == "[fe80::1]:50000"


def test_vipserver_rows_with_valid_false_are_skipped() -> None:
    hosts = [
        {"ip": "1.1.1.1", "port": 80, "weight": 1, "valid": True},
        {"ip": "1.1.1.2", "port": 80, "weight": 1, "valid": False},
    ]
    snapshot = read_vipserver(json.dumps({"hosts": hosts}).encode())
    assert snapshot.instances == (Instance("1.1.1.1", 80, 1),)
    assert not snapshot.bad_rows
    for body, reason in ((b"{}", RejectReason.WRONG_SHAPE), (b'{"hosts": []}', RejectReason.EMPTY_LIST)):
        with pytest.raises(DiscoveryReplyRejected) as caught:
            read_vipserver(body)
        assert caught.value.reason is reason


def test_changes_are_computed_once_and_in_order() -> None:
    """Removals come first, then additions and new weights in the order of the new list."""
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
def test_any_json_is_a_snapshot_or_a_rejection(rows: object) -> None:
    """Parsing raises nothing but `DiscoveryReplyRejected`, and an accepted list can be used."""
    try:
        snapshot = read_upstreams(json.dumps({"endpoints": {"items": rows}}).encode())
    except DiscoveryReplyRejected:
        return
    assert any(instance.weight > 0 for instance in snapshot.instances)
    assert len({instance.key for instance in snapshot.instances}) == len(snapshot.instances)


@SETTINGS
@given(st.binary(max_size=200))
def test_any_bytes_are_a_rejection(body: bytes) -> None:
    with pytest.raises(DiscoveryReplyRejected):
        read_upstreams(body)
