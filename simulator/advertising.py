"""Which host others use to reach the simulator: what it was told, or where it listens, or where they came in."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from simulator.service_spec import SpecError

if TYPE_CHECKING:
    from simulator.http1 import ServerConnection

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def check_advertise(given: Any) -> str:
    """A host that can be advertised, without the brackets of an IPv6 address.

    Args:
        given: A name or an IP address; empty for none.

    Raises:
        SpecError: It is neither, or it is an address that means all addresses.
    """
    text = given[1:-1] if isinstance(given, str) and given.startswith("[") and given.endswith("]") else given
    is_name = isinstance(text, str) and (not text or _NAME.fullmatch(text) is not None)
    if not isinstance(text, str) or not (is_name or _is_address(text)) or is_wildcard(text, empty=False):
        raise SpecError(
            "advertise must be a name or an address that others can connect to, without a port, such as simulator or "
            f"192.168.1.5, got {given!r}"
        )
    return text


def is_wildcard(host: str, *, empty: bool = True) -> bool:
    """Whether listening on `host` is listening on all addresses, so that nobody can connect to it as it is."""
    return (empty and not host) or (_is_address(host) and ip_address(host).is_unspecified)


def loopback(host: str) -> str:
    """An address at which this machine reaches what listens on `host`."""
    if not is_wildcard(host):
        return host
    return "::1" if ":" in host else "127.0.0.1"


def local_address(connection: ServerConnection) -> str:
    """This machine's address on a connection; of an IPv4 one on a socket for both kinds, the IPv4 address."""
    host = str(connection.transport.getHost().host).partition("%")[0]
    mapped = IPv6Address(host).ipv4_mapped if ":" in host else None
    return str(mapped or host)


def bracketed(host: str) -> str:
    """A host as it stands before `:port`."""
    return f"[{host}]" if ":" in host else host


class Advertised:
    """The host that others are given.

    Args:
        host: Where everything listens.
        advertise: A name or an address that others can use instead; empty for none.
    """

    def __init__(self, host: str, advertise: str = "") -> None:
        self.host = host
        self.advertise = check_advertise(advertise)
        self._fixed = self.advertise or ("" if is_wildcard(host) else host)

    def to(self, connection: ServerConnection | None = None) -> str:
        """The host for who asks on a connection; without one, for this machine.

        It is what is advertised; else where everything listens; else, when that is all addresses, the address at which
        the connection came in.
        """
        return self._fixed or (loopback(self.host) if connection is None else local_address(connection))

    def is_ours(self, host: str, connection: ServerConnection) -> bool:
        """Whether a Host header names this machine.

        What a page of another origin can make a browser send here names that origin's host (DNS rebinding). An address
        cannot be rebound, so the one the connection came in on is as good as `localhost`.
        """
        name = (host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host).strip("[]").lower()
        known = ("localhost", "127.0.0.1", "::1", self.host.lower(), self.advertise.lower())
        return bool(name) and (name in known or name == local_address(connection))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
