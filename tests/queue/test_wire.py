"""Requests of the queue client equal recorded requests of the official clients, byte for byte."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas_tw import BodyError, ConfigError
from eas_tw.body.schema import message
from eas_tw.queue import wire
from eas_tw.queue.frames import (
    Frame,
    PutResult,
    SearchResult,
    attributes_of,
    frame_of,
    frames_of,
    number_of,
    search_result_of,
)
from eas_tw.queue.wire import HeaderNames, Identity, QueueRequest
from eas_tw.secret import Secret
from tests.queue.recorded import Recorded, messages_of, requests_of

BASE = "/api/predict/qservice"
ME = Identity("u1", "g1")
NAMES = HeaderNames(priority="X-EAS-QueueService-Priority")
TAGS = {"k": "v w"}

PYTHON = [
    wire.attributes_request(),
    wire.put_request(b'[{"a":1}]', {}, 0, ""),
    wire.put_request(b"\x00\x01", TAGS, 0, ""),
    wire.put_request(b"x0", {}, 0, ""),
    wire.put_request(b"x1", {}, 0, ""),
    wire.get_request(1, 2, 3.0, {"k": "v"}, None, auto_delete=False),
    wire.get_request(0, 1, 5.0, {}, "req-1", auto_delete=True),
    wire.search_request(1),
    wire.commit_request((1,)),
    wire.commit_request((1, 2)),
    wire.delete_request((1,)),
    wire.delete_request((2, 3)),
    wire.truncate_request(4),
]


def rendered(request: QueueRequest, names: HeaderNames = NAMES) -> bytes:
    method, target, fields, body = request.on_wire(BASE, Secret("t0ken"), ME, names)
    return b"%b %b\n%b\n%b" % (method, target, fields, body)


def as_sent(recorded: Recorded) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in recorded.headers)
    return f"{recorded.method} {recorded.target}\n{fields}\n".encode() + recorded.body


def as_set(recorded: Recorded) -> tuple[object, ...]:
    """Return a request without the differences between SDKs: order of headers and query, and case of header names."""
    path, _, query = recorded.target.partition("?")
    headers = {(name.lower(), value) for name, value in recorded.headers}
    return recorded.method, path, sorted(query.split("&")), headers, recorded.body


def ours_as_set(request: QueueRequest) -> tuple[object, ...]:
    method, target, fields, body = request.on_wire(BASE, Secret("t0ken"), ME, NAMES)
    headers = [tuple(line.split(": ", 1)) for line in fields.decode().split("\r\n") if line]
    return as_set(Recorded("", method.decode(), target.decode(), headers, body))


@pytest.mark.parametrize("at", range(len(PYTHON)))
def test_each_request_has_the_bytes_that_the_python_sdk_sends(at: int) -> None:
    assert rendered(PYTHON[at]) == as_sent(requests_of("python")[at])


def test_the_request_of_a_watch_has_the_target_and_identity_that_the_python_sdk_sends() -> None:
    recorded = requests_of("python")[len(PYTHON)]
    request = wire.watch_request(0, 5, {}, index_only=False, auto_commit=False)
    assert request.on_wire(BASE, Secret("t0ken"), ME).target.decode() == recorded.target
    handshake = {"Upgrade", "Origin", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"}
    expected = [header for header in recorded.headers if header[0] not in handshake]
    assert request.header_lines(Secret("t0ken"), ME, NAMES) == expected


@pytest.mark.parametrize(
    ("sdk", "target", "request_"),
    [
        ("go", "/api/predict/qservice", wire.put_request(b"two", {}, 3, "")),
        ("go", "/api/predict/qservice/sub/path", wire.put_request(b"three", {}, 0, "sub/path")),
        ("go", "_negative_", wire.reject_request((3,), "Shutdown", "because x")),
        ("java", "_negative_", wire.reject_request((3,), "Shutdown", "because x")),
        ("java", "_count_", wire.count_request(None, {})),
        ("go", "_eos_", wire.end_request(force=True)),
        ("java", "_eos_", wire.end_request(force=True)),
        ("go", "_trunc_", wire.truncate_request(4)),
        ("go", "_timeout_=3s", wire.get_request(1, 2, 3, {"k": "v"}, None, auto_delete=False)),
    ],
)
def test_operations_that_python_lacks_are_sent_as_the_other_sdks_send_them(
    sdk: str, target: str, request_: QueueRequest
) -> None:
    sent = [as_set(one) for one in requests_of(sdk) if target in one.target]
    assert ours_as_set(request_) in sent


def test_the_recorded_responses_are_read() -> None:
    answers = requests_of("python")
    attributes = attributes_of(answers[0].response_headers["Content-Type"], answers[0].response)
    assert attributes["stream.approxMaxLength"] == "230399"
    assert HeaderNames.from_attributes(attributes) == NAMES
    binary = requests_of("go")[0]
    assert attributes_of(binary.response_headers["Content-Type"], binary.response) == attributes
    assert number_of(answers[1].response, "the index") == 1
    frames = frames_of(answers[5].response_headers["Content-Type"], answers[5].response)
    assert [(frame.index, frame.data, frame.request_id) for frame in frames] == [
        (1, b'[{"a":1}]', "req-1"),
        (2, b"\x00\x01", "req-2"),
    ]
    assert frames[1].tags == {"requestId": "req-2", "k": "v w"}
    assert search_result_of(answers[7].response) == SearchResult(is_pending=True, wait_count=0)


def test_the_recorded_frames_of_a_watch_are_read() -> None:
    assert [(frame.index, frame.data) for frame in map(frame_of, messages_of("python"))] == [
        (1, b'[{"a":1}]'),
        (2, b"\x00\x01"),
        (3, b"x0"),
        (4, b"x1"),
    ]


def test_frames_are_also_read_in_their_json_form() -> None:
    rows = b'[{"index": 7, "tags": {"requestId": "r"}, "data": "AAE="}, {"index": 8, "message": "m"}]'
    assert frames_of("application/json", rows) == [Frame(7, {"requestId": "r"}, b"\x00\x01"), Frame(8, message="m")]


def test_an_empty_response_to_a_get_is_no_frame() -> None:
    assert frames_of("application/vnd.google.protobuf", b"") == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/vnd.google.protobuf", b"\xff\xff"),
        ("application/json", b"{"),
        ("application/json", b"3"),
        ("application/json", b'[{"tags": {}}]'),
        ("application/json", b'["x"]'),
        ("application/json", b'[{"index": 1, "data": "*"}]'),
    ],
)
def test_frames_that_cannot_be_read_are_a_body_error(content_type: str, body: bytes) -> None:
    with pytest.raises(BodyError, match="list of frames"):
        frames_of(content_type, body)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"IsPending": true}', b"OK"])
def test_a_search_result_that_cannot_be_read_is_a_body_error(body: bytes) -> None:
    with pytest.raises(BodyError, match="result of the search"):
        search_result_of(body)


def test_an_index_that_cannot_be_read_is_a_body_error() -> None:
    with pytest.raises(BodyError, match="the index of the put must be a number"):
        number_of(b"OK", "the index of the put")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: wire.put_request(b"", {"_k_": "v"}, 0, ""), "does not begin with _"),
        (lambda: wire.put_request(b"", {"k": object()}, 0, ""), "tag k must be text"),
        (lambda: wire.put_request(b"", "k=v", 0, ""), "tags must be a mapping"),  # type: ignore[arg-type]
        (lambda: wire.put_request(b"", {}, -1, ""), "priority must be"),
        (lambda: wire.get_request(-2, 1, 0, {}, None, auto_delete=True), "index must be"),
        (lambda: wire.get_request(0, 0, 0, {}, None, auto_delete=True), "length must be"),
        (lambda: wire.get_request(0, 1, -1, {}, None, auto_delete=True), "timeout_s must be"),
        (lambda: wire.watch_request(0, 0, {}, index_only=False, auto_commit=False), "window must be"),
        (lambda: wire.search_request("1"), "index must be"),  # type: ignore[arg-type]
        (lambda: wire.reject_request((1,), "x" * 21, ""), "code must be"),
        (lambda: wire.as_indexes("12"), "index must be"),  # type: ignore[arg-type]
        (lambda: wire.as_indexes([1, None]), "index must be"),  # type: ignore[list-item]
        (lambda: wire.check_identity("a b", "eas"), "user must be visible ASCII"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(make: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_indexes_are_given_as_numbers_or_frames() -> None:
    assert wire.as_indexes(3) == (3,)
    assert wire.as_indexes(Frame(4)) == (4,)
    assert wire.as_indexes([5, Frame(6)]) == (5, 6)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (3, "3s"), (1.5, "1.5s"), (0.001, "0.001s"), (1e-9, "0.000000001s"), (120, "120s")]
)
def test_durations_are_written_as_go_reads_them(seconds: float, text: str) -> None:
    assert wire.go_duration(seconds) == text


@pytest.mark.parametrize("name", ["X\r\nY: 1", "X Y", "Ü", "", "Content-Length", "host", "AUTHORIZATION", "Upgrade"])
def test_an_invalid_or_reserved_header_name_in_the_attributes_is_ignored(name: str) -> None:
    attributes = dict.fromkeys(("meta.header.user", "meta.header.group", "meta.header.priority"), name)
    assert HeaderNames.from_attributes(attributes) == HeaderNames()


@pytest.mark.parametrize(
    "body",
    [
        b'[{"index": 1e999}]',
        b'[{"index": -1}]',
        b'[{"index": 18446744073709551616}]',
        b'[{"index": true}]',
        b'[{"index": 1.5}]',
        b"[" * 100_000,
        b'[{"index": 1, "tags": [1]}]',
    ],
    ids=range(7),
)
def test_json_that_is_no_list_of_frames_is_a_body_error(body: bytes) -> None:
    with pytest.raises(BodyError):
        frames_of("application/json", body)


@pytest.mark.parametrize("body", [b'{"IsPending": true, "WaitCount": 1e999}', b"{" * 100_000, b"[1]", b"9" * 5000])
def test_json_that_is_no_search_result_is_a_body_error(body: bytes) -> None:
    with pytest.raises(BodyError):
        search_result_of(body)


@pytest.mark.parametrize("body", [b"-1", b"18446744073709551616", b"9" * 5000, b"1_000", b"\xff", b""])
def test_a_number_that_is_no_index_is_a_body_error(body: bytes) -> None:
    with pytest.raises(BodyError, match="must be a number"):
        number_of(body, "the index")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a": ' * 100_000, b"7", b"\xff", b'{"a": 1'])
def test_json_that_is_no_object_of_attributes_is_a_body_error(body: bytes) -> None:
    with pytest.raises(BodyError):
        attributes_of("application/json", body)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08" + b"\xff" * 11,  # a varint without an end
        b"\x12\x06\n\x01k\x12\x01\xff",  # a tag that is not UTF-8
        b"\x12\xff\xff\xff\xff\x7f",  # a length beyond the end of the message
        b"\x1a\x05ab",
    ],
)
def test_a_frame_that_is_no_message_is_a_body_error(data: bytes) -> None:
    with pytest.raises(BodyError, match="a frame of the queue cannot be parsed"):
        frame_of(data)


def test_identity_headers_have_the_names_that_the_attributes_set() -> None:
    names = HeaderNames.from_attributes({"meta.header.user": "X-User", "meta.header.group": "X-Group"})
    sent = rendered(wire.commit_request((1,)), names)
    assert b"X-User: u1\r\nX-Group: g1\r\n" in sent
    assert b"Redis" not in sent


def test_a_priority_is_not_sent_to_a_service_that_names_no_header_for_it() -> None:
    assert b"riority" not in rendered(wire.put_request(b"", {}, 3, ""), HeaderNames())


def test_without_a_token_there_is_no_authorization_header() -> None:
    assert b"Authorization" not in wire.commit_request((1,)).on_wire(BASE, Secret(""), ME).fields


def test_headers_of_the_client_do_not_replace_those_of_the_protocol() -> None:
    extra = {"X-Trace": "1", "accept": "text/plain"}
    fields = wire.get_request(0, 1, 0, {}, None, auto_delete=True).on_wire(BASE, Secret("t"), ME, NAMES, extra).fields
    assert b"X-Trace: 1\r\n" in fields
    assert b"text/plain" not in fields


@given(st.integers(0, 2**64 - 1), st.dictionaries(st.text(), st.text()), st.binary(), st.text())
def test_frames_survive_the_wire(index: int, tags: dict[str, str], data: bytes, text: str) -> None:
    frame = Frame(index, tags, data, text)
    proto = message("eas_tw.queue.DataFrameProto")(index=index, tags=tags, data=data, message=text)
    assert frame_of(proto.SerializeToString()) == frame
    assert frame.raw_data == proto


def test_values_pickle_and_do_not_show_data() -> None:
    frame = Frame(1, {"k": "v"}, b"secret", "m")
    for value in (frame, PutResult(1, "r"), SearchResult(is_pending=False, wait_count=3)):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301  our own bytes
    assert "secret" not in repr(frame)


def test_a_search_result_reads_like_the_official_mapping() -> None:
    result = SearchResult(is_pending=False, wait_count=3)
    assert result["WaitCount"] == 3
    assert dict(result) == {"IsPending": False, "WaitCount": 3}
