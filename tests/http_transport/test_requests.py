"""Conversion of a library's request to the arguments of a call."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw import BodyError, ConfigError, StreamOptions
from eas_tw.http_transport.requests import BodyCollector, call_options, connect_timeout_s
from tests.http_transport.conftest import Kit


def options(
    kit: Kit, *arguments: Any, keep_authorization: bool = False, key: Any = None, **keywords: Any
) -> StreamOptions:
    request = kit.http.Request(*arguments, **keywords)
    return call_options(request, keep_authorization=keep_authorization, key=key)


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("http://eas/v1/models", "/v1/models", None),
        ("https://any.host:81/v1/models?a=1&a=%20", "/v1/models", "a=1&a=%20"),
        ("http://eas", "", None),
        ("http://eas/", "", None),
        ("http://eas/?q=1", "", "q=1"),
        ("http://eas/a%2Fb/ü", "/a%2Fb/%C3%BC", None),
        ("http://eas/a#fragment", "/a", None),
    ],
)
def test_path_and_query_are_taken_and_the_host_is_not(kit: Kit, url: str, path: str, query: str | None) -> None:
    made = options(kit, "GET", url)
    assert (made["method"], made["path"], made["query"]) == ("GET", path, query)


def test_headers_of_the_connection_and_of_the_client_are_left_out(kit: Kit) -> None:
    sent = {"Authorization": "Bearer x", "TE": "trailers", "Connection": "close", "Date": "today", "X-Own": "1"}
    made = options(kit, "POST", "http://eas/", headers=sent, content=b"123")
    assert made["headers"] == {"x-own": "1"}


def test_authorization_may_be_kept(kit: Kit) -> None:
    made = options(kit, "GET", "http://eas/", headers={"Authorization": "Bearer x"}, keep_authorization=True)
    assert made["headers"] == {"authorization": "Bearer x"}


def test_repeated_headers_are_joined(kit: Kit) -> None:
    fields = [("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("cookie", "b=2")]
    assert options(kit, "GET", "http://eas/", headers=fields)["headers"] == {"x-a": "1, 2", "cookie": "a=1; b=2"}


@pytest.mark.parametrize(
    ("timeout", "expected", "connect_s"),
    [
        ({"connect": 1.0, "read": 2.0, "write": 3.0, "pool": 4.0}, (2.0, 2.0), 1.0),
        ({"connect": None, "read": None, "write": None, "pool": None}, (86_400.0, 86_400.0), None),
        ({}, (None, None), None),
        (None, (None, None), None),
    ],
)
def test_the_timeouts_of_the_library_are_converted_to_seconds_of_a_call(
    kit: Kit, timeout: Any, expected: Any, connect_s: float | None
) -> None:
    request = kit.http.Request("GET", "http://eas/", extensions={} if timeout is None else {"timeout": timeout})
    made = call_options(request, keep_authorization=False)
    assert (made.get("timeout_s"), made.get("idle_timeout_s")) == expected
    assert connect_timeout_s(request) == connect_s


def test_a_body_is_collected_up_to_its_bound() -> None:
    collector = BodyCollector(4)
    collector.add(b"12")
    collector.add(b"34")
    assert collector.content() == b"1234"
    with pytest.raises(BodyError, match=r"larger than 4 bytes.*raise max_request_bytes"):
        collector.add(b"5")


def test_the_key_is_a_header_that_is_not_sent_or_what_a_function_returns(kit: Kit) -> None:
    made = options(kit, "GET", "http://eas/", headers={"X-Eas-Key": "ada"})
    assert (made["key"], made["headers"]) == ("ada", {})
    assert options(kit, "GET", "http://eas/v1", key=lambda request: request.url.path)["key"] == "/v1"
    both = options(kit, "GET", "http://eas/v1", headers={"x-eas-key": "ada"}, key=lambda request: request.url.path)
    assert both["key"] == "ada"
    assert options(kit, "GET", "http://eas/")["key"] is None


def test_a_constant_key_is_an_error_that_names_the_header(kit: Kit) -> None:
    for make in (kit.ours.AsyncTransport, kit.ours.Transport):
        with pytest.raises(ConfigError, match=r"key must be a function of the request .* header X-Eas-Key"):
            make("http://127.0.0.1:1", "echo", key="ada")
