"""Building of requests: path, headers, signature, and protection against injection."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import ConfigError
from eas_tw.request_builder import RequestBuilder, check_endpoint, check_headers, check_service

NOW = 1777921882.0
SETTINGS = settings(derandomize=True, deadline=None)


def builder(token: str = "", *, plain: bool = False) -> RequestBuilder:
    made = RequestBuilder(lambda: NOW)
    made.address("/api/predict/svc", auth="token" if plain else "signature")
    made.set_token(token)
    return made


def fields(made: RequestBuilder, *arguments: Any, body: bytes = b"body", **given: Any) -> dict[str, str]:
    """Return the header lines of a request. Assert that each is well-formed."""
    text = made.build(body, *arguments, **given).fields.decode()
    assert text.endswith("\r\n")
    pairs = [line.split(": ", 1) for line in text.removesuffix("\r\n").split("\r\n")]
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    return {name: value for name, value in pairs}  # noqa: C416  dict() would take a malformed pair


def test_a_request_without_a_token_has_type_and_length() -> None:
    assert fields(builder()) == {"Content-Type": "application/octet-stream", "Content-Length": "4"}


def test_a_signature_covers_the_whole_request() -> None:
    """Another path, query, type, method or body gives another signature; an equal request has the same one."""
    made = builder("t0ken")
    usual = fields(made)
    assert usual["Date"] == formatdate(NOW, usegmt=True)
    others: list[dict[str, Any]] = [
        {"path": "v2"}, {"query": {"uid": "7"}}, {"headers": {"content-type": "text/plain"}}, {"method": "PUT"},
        {"body": b"other"},
    ]  # fmt: skip
    for other in others:
        assert fields(made, **other)["Authorization"] != usual["Authorization"]
    assert fields(made) == usual


def test_a_plain_token_is_sent_as_it_is() -> None:
    """Custom URLs and `auth="token"` send the token without a date and a digest."""
    assert fields(builder("t0ken", plain=True)) == {
        "Content-Type": "application/octet-stream",
        "Authorization": "t0ken",
        "Content-Length": "4",
    }


def test_a_new_token_applies_to_the_next_request() -> None:
    made = builder("old")
    before = fields(made)["Authorization"]
    made.set_token("new")
    assert fields(made)["Authorization"] != before
    made.set_content_type("application/json")
    made.add_headers({"X-A": "1"})
    made.set_token("")
    assert fields(made) == {"Content-Type": "application/json", "X-A": "1", "Content-Length": "4"}


def test_later_headers_replace_earlier_ones_in_any_case() -> None:
    made = builder()
    made.add_headers({"X-A": "1", "X-B": "2"})
    sent = fields(made, headers={"x-a": "3", "CONTENT-TYPE": "text/plain"})
    assert sent == {"Content-Type": "text/plain", "x-a": "3", "X-B": "2", "Content-Length": "4"}
    assert fields(made)["X-A"] == "1"


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("", None, "/api/predict/svc"),
        ("v2", None, "/api/predict/svc/v2"),
        ("/v2/x%20y", None, "/api/predict/svc/v2/x%20y"),
        ("", {"a": "1 2", "b": "ä&="}, "/api/predict/svc?a=1+2&b=%C3%A4%26%3D"),
        ("", "?a=1", "/api/predict/svc?a=1"),
        ("v2", "a=1&a=2", "/api/predict/svc/v2?a=1&a=2"),
    ],
)
def test_path_and_query_are_joined(path: str, query: Any, target: str) -> None:
    """Path and query are joined with one slash and one question mark."""
    assert builder().build(b"", path, query).target.decode() == target


BREAKOUTS = ["a b", "a\r\nX: 1", "a\nb", "a\0b", "ä", "a\x7f"]


@pytest.mark.parametrize("text", BREAKOUTS)
def test_characters_that_would_break_the_request_line_are_refused(text: str) -> None:
    """Spaces, line breaks, NUL and characters outside ASCII are refused in path and query."""
    for arguments in ((text,), ("", text)):
        with pytest.raises(ConfigError):
            builder().build(b"", *arguments)


@pytest.mark.parametrize("text", ["a\r\nX: 1", "a\nb", "a\0b", "ä"])
def test_characters_that_would_break_a_header_are_refused(text: str) -> None:
    for headers in ({"X": text}, {text: "x"}, {"a b": "x"}, {"": "x"}, {"a:": "x"}):
        with pytest.raises(ConfigError):
            check_headers(headers)
    for setter in (RequestBuilder.set_token, RequestBuilder.set_content_type):
        with pytest.raises(ConfigError):
            setter(builder(), text)


def test_white_space_at_the_ends_of_a_header_is_no_part_of_its_value() -> None:
    """Libraries such as wsproto refuse a value that has it."""
    assert check_headers({"X": " v\t", "Y": "a b"}) == {"X": "v", "Y": "a b"}


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Authorization", "DATE"])
def test_a_caller_cannot_set_headers_of_the_client(name: str) -> None:
    with pytest.raises(ConfigError, match="set by the client"):
        check_headers({name: "x"})


def test_a_token_function_is_called_for_each_request() -> None:
    tokens = iter(["first", "first", "second", ""])
    made = RequestBuilder(lambda: 0.0)
    made.address("/api/predict/svc", auth="bearer")
    made.set_token(lambda: next(tokens))
    sent = [made.build(b"").fields.decode() for _ in range(4)]
    assert [re.findall(r"Bearer (\w+)", fields) for fields in sent] == [["first"], ["first"], ["second"], []]


def test_the_header_template_is_reused_while_the_token_is_the_same() -> None:
    made = builder()
    made.set_token(lambda: "same")
    made.build(b"")
    template = made._usual[None]
    made.build(b"")
    assert made._usual[None] is template


def test_a_token_may_be_replaced_by_a_function_and_the_reverse() -> None:
    made = builder("text", plain=True)
    made.set_token(lambda: "returned")
    assert "Authorization: returned" in made.build(b"").fields.decode()
    made.set_token("text")
    assert "Authorization: text" in made.build(b"").fields.decode()


@pytest.mark.parametrize("token", ["t0ken ", " t0ken", "\tt0ken", "t0ken\n", " "])
def test_a_token_with_white_space_at_its_ends_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ConfigError, match="begins or ends with white space") as caught:
        builder().set_token(token)
    assert "t0k" not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, b"t0ken", "t0k\nen", "t0ken "])
def test_a_function_that_returns_no_token_fails_the_call_without_showing_it(wrong: object) -> None:
    made = builder()
    made.set_token(lambda: wrong)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match=r"^what the function given as token returns must be a string") as caught:
        made.build(b"")
    assert "t0k" not in str(caught.value)


def test_a_function_that_raises_fails_the_call_with_its_error_as_cause() -> None:
    def fail() -> str:
        raise PermissionError("/secret/t0ken")

    made = builder()
    made.set_token(fail)
    with pytest.raises(ConfigError, match=r"^the function given as token raised PermissionError$") as caught:
        made.build(b"")
    assert isinstance(caught.value.__cause__, PermissionError)


def test_a_client_without_a_token_takes_the_authorization_of_a_call() -> None:
    """If the client has a token, Authorization is refused, because the request would have two such headers."""
    made = builder("").build(b"", headers={"authorization": "Bearer x"})
    assert b"authorization: Bearer x\r\n" in made.fields
    with pytest.raises(ConfigError, match="Authorization is set by the client"):
        builder("t0ken").build(b"", headers={"Authorization": "Bearer x"})
    with pytest.raises(ConfigError, match="Host is set by the client"):
        builder("").build(b"", headers={"Host": "x"})


@SETTINGS
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_accepted_arguments_give_exactly_one_request(path: str, query: str, value: str) -> None:
    made = builder("t0ken")
    try:
        request = made.build(b"body", path, query, {"X-A": value})
    except ConfigError:
        return
    head = (b"POST %b HTTP/1.1\r\nHost: 10.0.0.1:80\r\n%b\r\n" % (request.target, request.fields)).decode()
    lines = head.split("\r\n")
    assert lines[-2:] == ["", ""]
    assert lines[0].count(" ") == 2
    assert [line.partition(":")[0] for line in lines[1:-2]] == [
        "Host", "Content-Type", "X-A", "Content-Length", "Content-MD5", "Date", "Authorization",
    ]  # fmt: skip


def test_no_repr_shows_a_token() -> None:
    made = builder("s3cret", plain=True)
    assert "s3cret" not in repr(made.build(b"")) + repr(made) + repr(made._usual)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("pai-eas-vpc.cn-shanghai.aliyuncs.com", "http://pai-eas-vpc.cn-shanghai.aliyuncs.com"),
        ("http://127.0.0.1:8780/", "http://127.0.0.1:8780"),
        ("https://[::1]:8443/base//", "https://[::1]:8443/base"),
        ("[0:0::1]", "http://[::1]"),
        ("HTTP://My_Gateway:080/A", "http://my_gateway:80/A"),
        ("gateway.example.", "http://gateway.example."),
        ("xn--4ca.example:443", "http://xn--4ca.example:443"),
    ],
)
def test_endpoints(given: str, meant: str) -> None:
    """A scheme and a slash at the end are optional."""
    assert check_endpoint(given) == meant


@pytest.mark.parametrize(
    "given",
    [
        "", "http://", "ftp://x", "http://x:0", "http://x:99999", "http://u@x", "http://@x", "http://x?a", "http://x#",
        "http://ä", "a b", "a\nb", "http:/x", "::1", "[::1", "[::1]x", "[1.2.3.4]", "[fe80::1%25eth0]", "a..b", ".a",
        "x:", "x:\uff18\uff10", "%41.example", "http://x\\y", "https://my_gateway", "x" * 64, None, 7, b"x",
    ],
)  # fmt: skip
def test_invalid_endpoints_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="endpoint must look like") as caught:
        check_endpoint(given)
    assert "\n" not in str(caught.value)


def test_the_error_of_an_endpoint_names_the_setting_and_shows_no_password() -> None:
    with pytest.raises(ConfigError, match="custom_url must look like") as caught:
        check_endpoint("http://user:s3cret@x", "custom_url")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "/a", "a/", "a//b", "a?b", "ä", "..", "a/../b", None])
def test_invalid_service_names_are_refused(name: Any) -> None:
    assert check_service("group/svc_1.2-x") == "group/svc_1.2-x"
    with pytest.raises(ConfigError, match="service_name"):
        check_service(name)


JSON = "application/json"


@pytest.mark.parametrize(
    ("setting", "extra", "headers", "own", "sent"),
    [
        (None, None, None, None, "application/octet-stream"),
        (None, None, None, JSON, JSON),
        ("text/csv", None, None, JSON, "text/csv"),
        ("application/octet-stream", None, None, JSON, "application/octet-stream"),
        (None, {"content-type": "text/a"}, None, JSON, "text/a"),
        ("text/csv", {"content-type": "text/a"}, None, JSON, "text/a"),
        ("text/csv", {"content-type": "text/a"}, {"CONTENT-TYPE": "text/b"}, JSON, "text/b"),
        (None, None, {"Content-Type": "text/b"}, JSON, "text/b"),
        (None, None, {"X-A": "b"}, JSON, JSON),
    ],
)
def test_an_explicit_content_type_overrides_the_requests(
    setting: str | None, extra: dict[str, str] | None, headers: dict[str, str] | None, own: str | None, sent: str
) -> None:
    """Precedence: header of the call, header of the client, content type of the client, of the request, the default."""
    made = RequestBuilder(lambda: NOW)
    made.address("/api/predict/s", auth="signature")
    made.set_token("t")
    if setting is not None:
        made.set_content_type(setting)
    if extra is not None:
        made.add_headers(extra)
    for _ in range(2):
        request = made.build(b"[]", headers=headers, content_type=own)
        assert request.fields.lower().count(b"content-type:") == 1
        assert f"Content-Type: {sent}\r\n".encode() in request.fields


def test_the_signature_covers_the_requests_own_type() -> None:
    fields = []
    for own, header in ((JSON, None), (None, {"Content-Type": JSON})):
        made = RequestBuilder(lambda: NOW)
        made.address("/api/predict/s", auth="signature")
        made.set_token("t")
        fields.append(made.build(b"[]", headers=header, content_type=own).fields)
    assert fields[0] == fields[1]


def test_white_space_at_the_ends_of_a_content_type_is_neither_sent_nor_signed() -> None:
    signed = [fields(builder("t"), content_type=own) for own in ("text/csv", " text/csv\t")]
    made = builder("t")
    made.set_content_type("text/csv ")
    assert fields(made) == signed[0] == signed[1]


@pytest.mark.parametrize("own", ["", " ", "a\r\nb", 5, [], b"text/plain"])
def test_a_request_with_a_wrong_type_is_a_config_error(own: Any) -> None:
    made = RequestBuilder(lambda: NOW)
    for _ in range(2):
        with pytest.raises(ConfigError, match="content_type must be"):
            made.build(b"[]", content_type=own)
        made.set_content_type("text/csv")


def test_the_memory_for_content_types_is_bounded() -> None:
    made = RequestBuilder(lambda: NOW)
    for number in range(100):
        made.build(b"[]", content_type=f"text/x-{number}")
    assert len(made._usual) <= 16
