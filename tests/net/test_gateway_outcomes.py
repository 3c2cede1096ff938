"""How an agent's failure on the way to a gateway is named."""

from __future__ import annotations

import errno

import pytest
from twisted.internet import error
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from eas_tw.net.gateway import _outcome
from eas_tw.policy.outcomes import Condition

LOST = Failure(error.ConnectionLost())


@pytest.mark.parametrize(
    ("raised", "condition"),
    [
        (error.ConnectionRefusedError(), Condition.CONNECT_REFUSED),
        (error.TimeoutError(), Condition.CONNECT_TIMEOUT),
        (error.ConnectError(errno.ECONNRESET, "reset"), Condition.CONNECT_FAILED),
        (error.ConnectBindError(errno.EMFILE, "Too many open files"), Condition.LOCAL_RESOURCE),
        (error.DNSLookupError("no such name"), Condition.CONNECT_FAILED),
        (RequestNotSent(), Condition.UNSENT),
        (ResponseNeverReceived([LOST]), Condition.LOST),
        (ResponseFailed([LOST]), Condition.CUT),
    ],
)
def test_the_names_are_those_of_direct_connections(raised: Exception, condition: Condition) -> None:
    """One vocabulary for both."""
    assert _outcome(raised).condition is condition
