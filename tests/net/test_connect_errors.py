"""Failed connects that count against the instance, and those caused by this machine."""

from __future__ import annotations

import errno
import os

import pytest
from twisted.internet import error

from eas_tw.net.connect_errors import connect_outcome, local_shortage
from eas_tw.policy.outcomes import AttemptStatus

LOCAL = ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENETUNREACH", "ENETDOWN", "ENOBUFS", "ENOMEM"]
NOT_LOCAL = ["EHOSTUNREACH", "ECONNRESET", "EACCES", "EINVAL", "EAFNOSUPPORT"]


@pytest.mark.parametrize("name", LOCAL)
def test_a_lack_of_local_resources_is_named(name: str) -> None:
    number = getattr(errno, name)
    told = (number, os.strerror(number))
    for raised in (error.ConnectBindError(*told), error.getConnectError(told), OSError(*told)):  # type: ignore[no-untyped-call]
        outcome = connect_outcome(raised)
        assert outcome.attempt_status is AttemptStatus.LOCAL_RESOURCE
        assert outcome.detail.endswith(f": {name}")


@pytest.mark.parametrize("name", NOT_LOCAL)
def test_errors_of_a_dead_instance_are_not_local(name: str) -> None:
    """A missing ARP response is reported as EHOSTUNREACH."""
    number = getattr(errno, name)
    outcome = connect_outcome(error.getConnectError((number, os.strerror(number))))  # type: ignore[no-untyped-call]
    assert outcome.attempt_status is AttemptStatus.CONNECT_FAILED
    assert os.strerror(number) in outcome.detail


@pytest.mark.parametrize(
    ("raised", "attempt_status"),
    [
        (error.ConnectionRefusedError(), AttemptStatus.CONNECT_REFUSED),
        (error.TimeoutError(), AttemptStatus.CONNECT_TIMEOUT),
        (error.UserError(), AttemptStatus.INSTANCE_REMOVED),
        (error.DNSLookupError("no such name"), AttemptStatus.CONNECT_FAILED),
        (UnicodeError("label too long"), AttemptStatus.CONNECT_FAILED),
    ],
)
def test_the_rest_is_told_apart(raised: Exception, attempt_status: AttemptStatus) -> None:
    assert connect_outcome(raised).attempt_status is attempt_status


def test_no_error_is_no_shortage() -> None:
    assert local_shortage(None) == ""
