"""The Date header of signed requests. `test_vectors` compares the signatures with the official SDK's."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw.body.signature import Signer, http_date


def test_the_date_of_rfc_7231() -> None:
    """The example of RFC 7231 §7.1.1.1, the epoch, and a time with a fraction of a second, which is dropped."""
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http_date(1777921882.999) == "Mon, 04 May 2026 19:11:22 GMT"


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 4_000_000_000))
def test_a_date_is_parsed_to_the_second_it_was_made_from(epoch_s: int) -> None:
    assert parsedate_to_datetime(http_date(epoch_s)).timestamp() == epoch_s


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(1.7e9, 1.7e9 + 5), max_size=10))
def test_a_signature_is_never_of_another_second(moments: list[float]) -> None:
    signer = Signer(b"token", "/api/predict/svc", "text/plain")
    for moment in moments:
        assert signer.lines(b"body", moment) == Signer(b"token", "/api/predict/svc", "text/plain").lines(
            b"body", moment
        )
        assert f"Date: {http_date(moment)}\r\n".encode() in signer.lines(b"other", moment)


def test_a_signer_does_not_show_its_token() -> None:
    assert "token" not in repr(Signer(b"token", "/api/predict/svc", "text/plain"))
