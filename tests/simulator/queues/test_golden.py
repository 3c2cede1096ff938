"""Recorded requests of the three official clients get the recorded responses.

The record omits Host, User-Agent and Accept-Encoding. Each case starts with an empty queue, and first puts the frames
that were in the queue when it was recorded.
"""

from __future__ import annotations

import pytest
from wsproto.events import CloseConnection, Ping

from tests.simulator.queues.region import PATH, PROTOBUF, TOKEN, QueueRegion, Socket

ATTRIBUTES = {
    "meta.backend": "memory",
    "meta.name": "qservice",
    "meta.state": "Normal",
    "meta.maxPayloadBytes": "8192",
    "meta.header.user": "X-EAS-QueueService-Redis-Uid",
    "meta.header.group": "X-EAS-QueueService-Redis-Gid",
    "meta.header.priority": "X-EAS-QueueService-Priority",
    "stream.length": "0",
    "stream.approxMaxLength": "230399",
    "stream.firstEntry": "0",
    "stream.lastEntry": "0",
}
JSON_ATTRIBUTES = ("{" + ", ".join(f'"{name}": "{value}"' for name, value in ATTRIBUTES.items()) + "}").encode()
PROTO_ATTRIBUTES = (
    b"\n\x16\n\x0cmeta.backend\x12\x06memory\n\x15\n\tmeta.name\x12\x08qservice\n\x14\n\nmeta.state\x12\x06Normal"
    b"\n\x1c\n\x14meta.maxPayloadBytes\x12\x048192\n0\n\x10meta.header.user\x12\x1cX-EAS-QueueService-Redis-Uid"
    b"\n1\n\x11meta.header.group\x12\x1cX-EAS-QueueService-Redis-Gid"
    b"\n3\n\x14meta.header.priority\x12\x1bX-EAS-QueueService-Priority\n\x12\n\rstream.length\x12\x010"
    b"\n \n\x16stream.approxMaxLength\x12\x06230399\n\x16\n\x11stream.firstEntry\x12\x010"
    b"\n\x15\n\x10stream.lastEntry\x12\x010"
)
"""The recorded attributes in protobuf, except that the service's name was `q` in the record."""
PYTHON = {"X-EAS-QueueService-Redis-Uid": "u1", "X-EAS-QueueService-Redis-Gid": "g1"}
GO = {"X-Eas-Queueservice-Redis-Gid": "g1", "X-Eas-Queueservice-Redis-Uid": "u1"}
ACCEPT = {"Accept": PROTOBUF}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FRAME_1 = b'\n!\x08\x01\x12\x12\n\trequestId\x12\x05req-1\x1a\t[{"a":1}]'
FRAME_2 = b"\n$\x08\x02\x12\x12\n\trequestId\x12\x05req-2\x12\x08\n\x01k\x12\x03v w\x1a\x02\x00\x01"
ONE, TWO = (
    b"\n%\x08\x01\x12\x12\n\trequestId\x12\x05req-1\x12\x08\n\x01k\x12\x03v w\x1a\x03one",
    b"\n\x1b\x08\x02\x12\x12\n\trequestId\x12\x05req-2\x1a\x03two",
)
SEARCHED = b'{"IsPending":false,"WaitCount":0}'
PYTHON_PUTS = (("", b'[{"a":1}]'), ("k=v+w", b"\x00\x01"), ("", b"x0"), ("", b"x1"))
GO_PUTS = (("k=v+w", b"one"), ("", b"two"), ("", b"three"))

CASES: dict[str, tuple[tuple[tuple[str, bytes], ...], str, str, dict[str, str], bytes, bytes]] = {
    # frames in the queue, method, target below the queue, headers, body, body of the response
    "python-attributes": ((), "GET", "?_attrs_=true", PYTHON, b"", JSON_ATTRIBUTES),
    "python-put": ((), "POST", "", PYTHON, b'[{"a":1}]', b"1"),
    "python-put-tags": (PYTHON_PUTS[:1], "POST", "?k=v+w", PYTHON, b"\x00\x01", b"2"),
    "python-get": (
        (PYTHON_PUTS[0], ("k=v", b"\x00\x01")), "GET",
        "?_index_=1&_length_=2&_timeout_=3s&_raw_=false&_auto_delete_=false&k=v", PYTHON | ACCEPT, b"",
        b'\n"\x08\x02\x12\x12\n\trequestId\x12\x05req-2\x12\x06\n\x01k\x12\x01v\x1a\x02\x00\x01',
    ),
    "python-get-two": (
        PYTHON_PUTS, "GET", "?_index_=1&_length_=2&_timeout_=3s&_raw_=false&_auto_delete_=false", PYTHON | ACCEPT, b"",
        FRAME_1 + FRAME_2,
    ),
    "python-get-by-request-id": (
        PYTHON_PUTS, "GET", "?_index_=0&_length_=1&_timeout_=5s&_raw_=false&_auto_delete_=true&requestId=req-1",
        PYTHON | ACCEPT, b"", FRAME_1,
    ),
    "python-search": (PYTHON_PUTS, "GET", "?_search_=true&_index_=1", PYTHON, b"", SEARCHED),
    "python-commit": (PYTHON_PUTS, "PUT", "?_indexes_=1", PYTHON, b"", b"OK"),
    "python-commit-two": (PYTHON_PUTS, "PUT", "?_indexes_=1%2C2", PYTHON, b"", b"OK"),
    "python-delete": (PYTHON_PUTS, "DELETE", "?_indexes_=2%2C3", PYTHON, b"", b"OK"),
    "python-truncate": (PYTHON_PUTS, "DELETE", "?_index_=4&_trunc_=true", PYTHON, b"", b"OK"),
    "go-attributes": ((), "GET", "?_attrs_=true", ACCEPT, b"", PROTO_ATTRIBUTES),
    "go-put": ((), "POST", "?k=v+w", GO, b"one", b"1"),
    "go-put-priority": (GO_PUTS[:1], "POST", "", GO | {"X-Eas-Queueservice-Priority": "3"}, b"two", b"2"),
    "go-put-path": (GO_PUTS[:2], "POST", "/sub/path", GO, b"three", b"3"),
    "go-get": (
        GO_PUTS, "GET", "?_auto_delete_=false&_index_=1&_length_=2&_raw_=false&_timeout_=3s", GO | ACCEPT, b"",
        ONE + TWO,
    ),
    "go-get-auto-delete": (
        GO_PUTS, "GET", "?_auto_delete_=true&_index_=1&_length_=1&_raw_=false&_timeout_=0s", GO | ACCEPT, b"", ONE,
    ),
    "go-get-by-request-id": (
        GO_PUTS, "GET", "?_auto_delete_=true&_index_=0&_length_=1&_raw_=false&_timeout_=0s&requestId=req-1",
        GO | ACCEPT, b"", ONE,
    ),
    "go-reject": (
        GO_PUTS, "PUT", "?_indexes_=3&_negative_=true", GO | FORM, b"_code_=Shutdown&_reason_=because+x", b"OK",
    ),
    "go-end": (GO_PUTS, "POST", "?_eos_=true&_force_=true", GO, b"", b"OK"),
    "java-count": (GO_PUTS[:2], "GET", "?_count_=true", PYTHON, b"", b"2"),
    "java-put-priority": (
        GO_PUTS[:1], "POST", "?_priority_=3", PYTHON | {"X-EAS-QueueService-Priority": "3"}, b"two", b"2",
    ),
    "java-search": (GO_PUTS[:2], "GET", "?_index_=1&_search_=true", PYTHON, b"", SEARCHED),
    "java-get": (
        GO_PUTS, "GET", "?_length_=2&_timeout_=3s&_auto_delete_=false&_index_=1&_raw_=false", PYTHON | ACCEPT, b"",
        ONE + TWO,
    ),
    "java-reject": (
        GO_PUTS, "PUT", "?_negative_=true&_indexes_=3", PYTHON | FORM, b"_code_=Shutdown&_reason_=because+x", b"OK",
    ),
    "java-end": (GO_PUTS, "POST", "?_force_=true&_eos_=true", PYTHON, b"", b"OK"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_request_gets_the_recorded_response(name: str) -> None:
    before, method, target, headers, body, answer = CASES[name]
    region = QueueRegion()
    for query, data in before:
        assert region.send("POST", query, data).status == 200
    lines = [f"{method} {PATH}{target} HTTP/1.1", "Host: x", f"Authorization: {TOKEN}"]
    lines += [f"{header}: {value}" for header, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if method in ("POST", "PUT") else []
    wire = region.connect().send("\r\n".join([*lines, "", ""]).encode() + body)
    region.wait(3.1)  # a get waits up to 3 s for the requested number of frames
    assert (wire.status, wire.body) == (200, answer)
    if method == "POST" and "_eos_" not in target:
        assert wire.headers["x-eas-queueservice-request-id"] == f"req-{answer.decode()}"
    region.close()


HANDSHAKES = {
    "python": (
        ["Upgrade: websocket", "Origin: http://127.0.0.1:18731", "Sec-WebSocket-Key: +3dSUqsql9Mx1P2uEYI0hg==",
         "Sec-WebSocket-Version: 13", "Connection: Upgrade"],
        "?_watch_=true&_index_=0&_window_=5&_index_only_=false&_auto_commit_=false", b"ping", PYTHON,
    ),
    "go": (
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: 7AscH6aSxD0KVOvBQtmz3A==",
         "Origin: http://127.0.0.1:18732/api/predict/qservice", "Sec-WebSocket-Version: 13"],
        "?_auto_commit_=false&_index_=0&_index_only_=false&_watch_=true&_window_=5", b"", GO,
    ),
    "java": (
        ["Connection: Upgrade", "Sec-WebSocket-Key: XIbub8hj9z/IjtsAGsCLNQ==", "Sec-WebSocket-Version: 13",
         "Upgrade: websocket"],
        "?_watch_=true&_index_=0&_index_only_=false&_auto_commit_=false&_window_=5", b"", PYTHON,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HANDSHAKES)
def test_the_recorded_watch_has_the_recorded_frames(name: str) -> None:
    upgrade, target, ping, identity = HANDSHAKES[name]
    region = QueueRegion()
    for query, data in GO_PUTS:
        region.send("POST", query, data)
    lines = [f"GET {PATH}{target} HTTP/1.1", "Host: x", *upgrade, f"Authorization: {TOKEN}", f"Accept: {PROTOBUF}"]
    lines += [f"{header}: {value}" for header, value in identity.items()]
    watch = Socket(region, region.connect().send("\r\n".join([*lines, "", ""]).encode()))
    region.wait(0.1)
    watch.send(Ping(payload=ping))
    assert watch.wire.status == 101
    # In the recorded lists of frames, each frame is preceded by a tag and a length.
    assert watch.messages == [ONE[2:], TWO[2:], b"\x08\x03\x12\x12\n\trequestId\x12\x05req-3\x1a\x05three"]
    assert watch.pongs == [ping]
    watch.send(CloseConnection(code=1000))
    assert watch.wire.body.endswith(b"\x88\x02\x03\xe8")
    region.close()
