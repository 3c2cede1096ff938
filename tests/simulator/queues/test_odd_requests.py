"""Requests that no official client sends get a response, and do not damage the queue."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.queues.frames import Frame
from simulator.queues.protobuf import attributes_bytes, frame_bytes
from simulator.queues.websocket import WebSocket
from tests.simulator.queues.region import QueueRegion
from tests.simulator.queues.test_operations import decoded

NAMES = [
    "_attrs_", "_count_", "_search_", "_watch_", "_eos_", "_force_", "_negative_", "_trunc_", "_index_", "_indexes_",
    "_length_", "_timeout_", "_raw_", "_auto_delete_", "_priority_", "_window_", "_index_only_", "_auto_commit_", "_",
    "k", "requestId",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["true", "false", "", "0", "-1", "1", "1,2", "9223372036854775807", "0s", "1h", "1e9", "null"]),
    st.text(max_size=20),
)


def masked(head: bytes, payload: bytes) -> bytes:
    """Return a masked frame with the given first byte. A mask of zeros does not change the payload (RFC 6455 §5.3)."""
    return (head[:1] or b"\x89") + bytes([0x80 | len(payload)]) + bytes(4) + payload


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=80, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]),
    fields=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    body=st.binary(max_size=60),
    below=st.sampled_from(["", "/sink", "/sink/more", "/%2F", "/é"]),
)
def test_every_request_has_an_answer(method: str, fields: dict[str, str], body: bytes, below: str) -> None:
    region = QueueRegion(has_workers=True)
    region.put(b"one", b"two")
    query = urlencode(fields, errors="replace")
    wire = region.send(method, query, body if method in ("POST", "PUT") else b"", below=quote(below, safe="/%"))
    region.wait(4000.0)  # longer than the longest wait of a get
    assert wire.status in {101, 200, 204, 400, 404, 405, 410, 413, 426}
    region.close()


@given(
    tags=st.dictionaries(TEXT, TEXT, max_size=5),
    data=st.binary(max_size=400),
    index=st.integers(1, 2**63 - 1),
)
def test_an_encoded_frame_decodes_to_the_same_values(tags: dict[str, str], data: bytes, index: int) -> None:
    frame = Frame(index, tags, data)
    found: Any = decoded(frame_bytes(frame), "DataFrameProto")
    assert (found.index, dict(found.tags), found.data, found.message) == (index, tags, data, "")
    assert decoded(frame_bytes(frame, index_only=True), "DataFrameProto").data == b""
    assert dict(decoded(attributes_bytes(tags), "AttributesProto").attributes) == tags


@given(st.lists(st.one_of(st.binary(max_size=30), st.builds(masked, st.binary(max_size=2), st.binary(max_size=20)))))
def test_after_any_bytes_the_websocket_works_or_is_closed(pieces: list[bytes]) -> None:
    socket = WebSocket()
    for piece in pieces:
        socket.receive(piece)
    if socket.close_reply is None:
        assert socket.message(b"x") == b"\x82\x01x"
        assert socket.close(1000) == b"\x88\x02\x03\xe8"
        for piece in pieces:
            socket.receive(piece)
