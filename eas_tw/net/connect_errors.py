"""Outcomes for connections that could not be opened.

Twisted stores the operating system's error number in `ConnectError.osError`, with several classes: a failed `socket`
is a `ConnectBindError` ("Couldn't bind: 24"), a failed `connect` a `ConnectError` or one of its subclasses by number.
Some of these numbers describe a problem of this machine, and not of the instance.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.error import ConnectionRefusedError, TimeoutError, UserError  # noqa: A004

from eas_tw.display import text_of
from eas_tw.policy.outcomes import AttemptStatus, Outcome

_LOCAL_SHORTAGES = {
    errno.EMFILE: "no file descriptor is left in this process",
    errno.ENFILE: "no file descriptor is left on this machine",
    errno.EADDRNOTAVAIL: "no local address or port is left for this destination",
    errno.ENETUNREACH: "this machine has no route to the network",
    errno.ENETDOWN: "the network is down on this machine",
    errno.ENOBUFS: "this machine has no buffer space left",
    errno.ENOMEM: "this machine has no memory left",
}
"""Errors that describe a problem of this machine.

EHOSTUNREACH is not included: it usually means that an address does not answer ARP, or that a router does not find the
host, as happens when an instance is down. ENETUNREACH is included, although in rare cases a router causes it,
when a network is down.
"""


def local_shortage(error: BaseException | None) -> str:
    """Return the resource of this machine whose lack caused a failed connect; an empty string for another cause."""
    if isinstance(error, MemoryError):
        return "this process has no memory left"
    number: Any = getattr(error, "osError", None) or getattr(error, "errno", None)
    if number not in _LOCAL_SHORTAGES:
        return ""
    return f"{_LOCAL_SHORTAGES[number]}: {errno.errorcode[number]}"


def connect_outcome(error: BaseException | None) -> Outcome:
    """Convert a failed connect to an outcome."""
    shortage = local_shortage(error)
    if shortage:
        return Outcome(AttemptStatus.LOCAL_RESOURCE, detail=shortage)
    if isinstance(error, ConnectionRefusedError):
        return Outcome(AttemptStatus.CONNECT_REFUSED)
    if isinstance(error, TimeoutError):
        return Outcome(AttemptStatus.CONNECT_TIMEOUT)
    if isinstance(error, UserError):
        return Outcome(AttemptStatus.INSTANCE_REMOVED, detail="the instance left the list")
    return Outcome(AttemptStatus.CONNECT_FAILED, detail=text_of(error) or type(error).__name__)
