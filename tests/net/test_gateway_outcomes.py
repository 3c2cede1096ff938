"""Conversion of an agent's failures to outcomes."""

from __future__ import annotations

import errno

import pytest
from twisted.internet import error
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from eas_tw.net.gateway import _outcome
from eas_tw.policy.outcomes import AttemptStatus

LOST = Failure(error.ConnectionLost())


@pytest.mark.parametrize(
    ("raised", "attempt_status"),
    [
        (error.ConnectionRefusedError(), AttemptStatus.CONNECT_REFUSED),
        (error.TimeoutError(), AttemptStatus.CONNECT_TIMEOUT),
        (error.ConnectError(errno.ECONNRESET, "reset"), AttemptStatus.CONNECT_FAILED),
        (error.ConnectBindError(errno.EMFILE, "Too many open files"), AttemptStatus.LOCAL_RESOURCE),
        (OSError(errno.EMFILE, "Too many open files"), AttemptStatus.LOCAL_RESOURCE),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), AttemptStatus.LOCAL_RESOURCE),
        (OSError(errno.ENOBUFS, "No buffer space available"), AttemptStatus.LOST),
        (error.DNSLookupError("no such name"), AttemptStatus.CONNECT_FAILED),
        (RequestNotSent(), AttemptStatus.UNSENT),
        (ResponseNeverReceived([LOST]), AttemptStatus.LOST),
        (ResponseFailed([LOST]), AttemptStatus.RESPONSE_TRUNCATED),
    ],
)
def test_failures_of_an_agent_have_the_statuses_of_direct_connections(
    raised: Exception, attempt_status: AttemptStatus
) -> None:
    assert _outcome(raised).attempt_status is attempt_status
