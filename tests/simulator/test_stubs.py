"""Fixed responses (stubs): matching of requests, and validation."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.messages import ReceivedRequest
from simulator.stubs import MAX_STUBS, StubError, Stubs, read_stub, read_stubs

ANY_CONNECTION: Any = SimpleNamespace()


def request(method: str = "POST", target: str = "/", body: bytes = b"", **headers: str) -> ReceivedRequest:
    return ReceivedRequest(method, target, headers, body, ANY_CONNECTION)


def stubs(*tables: dict[str, Any]) -> Stubs:
    made = Stubs()
    for at, table in enumerate(tables):
        made.add(read_stub(table, f"stub-{at}"))
    return made


def answered(made: Stubs, asked: ReceivedRequest, path: str = "") -> tuple[int, bytes]:
    response = made.answer(asked, path).response
    return response.status, response.body


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ({"method": "get"}, request("GET"), request("POST")),
        ({"query": {"a": "1"}}, request(target="/?b=2&a=1"), request(target="/?a=2")),
        ({"headers": {"X-User": "7"}}, request(**{"x-user": "7"}), request(**{"x-user": "8"})),
        ({"body": "whole"}, request(body=b"whole"), request(body=b"whole ")),
        ({"body_base64": "/w=="}, request(body=b"\xff"), request(body=b"")),
        ({"contains": "part"}, request(body=b"a part of"), request(body=b"a pert of")),
        ({"json": {"a": [1, None]}}, request(body=b' {"a":[1,null]}'), request(body=b'{"a":[1]}')),
        ({"json": None}, request(body=b"null"), request(body=b"")),
        ({"json": 1}, request(body=b"1"), request(body=b"[" * 100_000)),
    ],
)
def test_a_pattern_matches_only_its_requests(
    pattern: dict[str, Any], good: ReceivedRequest, bad: ReceivedRequest
) -> None:
    made = stubs({"request": pattern, "responses": [{"body": "yes"}]})
    assert answered(made, good) == (200, b"yes")
    assert answered(made, bad)[0] == 404
    assert made.unmatched_total == 1


def test_the_path_of_a_pattern_is_relative_to_the_service() -> None:
    made = stubs({"request": {"path": "/v1/models"}, "responses": [{"json": []}]})
    assert answered(made, request("GET"), "/v1/models") == (200, b"[]")
    assert answered(made, request("GET"), "/v1")[0] == 404
    assert list(made.unmatched) == ["GET /v1"]


def test_responses_are_used_in_order_and_the_last_is_repeated() -> None:
    made = stubs({"responses": [{"status": 503}, {"status": 429}, {"body": "ok"}]})
    assert [answered(made, request())[0] for _ in range(4)] == [503, 429, 200, 200]


def test_a_stub_that_is_used_up_leaves_the_request_to_the_next() -> None:
    made = stubs({"times": 2, "responses": [{"status": 500}]}, {"responses": [{"body": "ok"}]})
    assert [answered(made, request())[0] for _ in range(3)] == [500, 500, 200]
    assert [stub.hits for stub in made] == [2, 1]


def test_a_404_lists_the_patterns_without_header_values() -> None:
    made = stubs({"request": {"method": "GET", "headers": {"authorization": "s3cret"}}})
    text = answered(made, request(), "/x")[1].decode()
    assert text == "no stub matches POST /x; there are: GET any path header authorization\n"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ([], "$: expected a table, got list"),
        ({"respones": []}, "$.respones: unknown; known are name, request, responses, times"),
        ({"responses": []}, "$.responses: expected a list of 1 to 10000 responses"),
        ({"times": 0}, "$.times: expected a whole number ≥ 1, got 0"),
        ({"times": True}, "$.times: expected a whole number ≥ 1, got True"),
        ({"responses": [{"status": 101}]}, "$.responses[0].status: expected a whole number from 200 to 599, got 101"),
        ({"responses": [{"body": "a", "json": 1}]}, "$.responses[0]: give one of body, json"),
        ({"responses": [{"headers": {"a": "b\r\nc: d"}}]}, "$.responses[0].headers.'a': a header has no line breaks"),
        ({"responses": [{"delay_s": -1}]}, "$.responses[0].delay_s: expected a number from 0 to 3600, got -1"),
        ({"responses": [{"body_base64": "%"}]}, "$.responses[0].body_base64: expected base64"),
        (
            {"responses": [{"forward": "http://example.com/"}]},
            "$.responses[0].forward: expected a URL on 127.0.0.1 or [::1], got 'http://example.com/'",
        ),
        ({"request": {"body": "a", "body_base64": ""}}, "$.request: give body or body_base64, not both"),
        ({"request": {"headers": {"a": 1}}}, "$.request.headers: expected a table of strings"),
    ],
)
def test_errors_have_the_path_of_the_wrong_value(table: Any, says: str) -> None:
    with pytest.raises(StubError) as caught:
        read_stub(table, "s")
    assert str(caught.value) == says


def test_a_service_has_a_bounded_number_of_stubs() -> None:
    made = stubs(*({} for _ in range(MAX_STUBS)))
    with pytest.raises(StubError, match="at most 1000"):
        made.add(read_stub({}, "one-more"))


def test_a_recording_names_its_stub() -> None:
    document = json.loads('{"stub": [{"responses": [{}]}, {"times": "x"}]}')
    with pytest.raises(StubError, match=r"^\$\.stub\[1\]\.times: "):
        read_stubs(document)
