"""Failed connects are attributed to the instance, or to a lack of resources on this machine."""

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
def test_errors_of_an_unreachable_instance_are_not_local(name: str) -> None:
    """Linux reports EHOSTUNREACH if an ARP request gets no response, so this is an error of the instance."""
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
def test_other_errors_of_a_connect_have_separate_statuses(raised: Exception, attempt_status: AttemptStatus) -> None:
    assert connect_outcome(raised).attempt_status is attempt_status


def test_without_an_error_no_resource_is_lacking() -> None:
    assert local_shortage(None) == ""
