"""The host under which clients reach the simulator: configured, or derived from the listener or the connection."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from simulator.service_spec import SpecError

if TYPE_CHECKING:
    from simulator.http1 import ServerConnection

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def check_advertise(given: Any) -> str:
    """Validate a host that is to be advertised, and return it without the brackets of an IPv6 address.

    Args:
        given: A host name or an IP address; empty for none.

    Raises:
        SpecError: The host is neither a name nor an address, or it is a wildcard address.
    """
    text = given[1:-1] if isinstance(given, str) and given.startswith("[") and given.endswith("]") else given
    is_name = isinstance(text, str) and (not text or _NAME.fullmatch(text) is not None)
    if not isinstance(text, str) or not (is_name or _is_address(text)) or is_wildcard(text, empty=False):
        raise SpecError(
            "advertise must be a host name or an address that clients can reach, without a port, such as simulator or "
            f"192.168.1.5, got {given!r}"
        )
    return text


def is_wildcard(host: str, *, empty: bool = True) -> bool:
    """Return whether `host` is a wildcard address, to which no client can connect.

    Args:
        host: A host name or an IP address.
        empty: Whether an empty host counts as a wildcard.
    """
    return (empty and not host) or (_is_address(host) and ip_address(host).is_unspecified)


def loopback(host: str) -> str:
    """Return an address through which this machine reaches a listener on `host`."""
    if not is_wildcard(host):
        return host
    return "::1" if ":" in host else "127.0.0.1"


def local_address(connection: ServerConnection) -> str:
    """Return the local address of a connection; IPv4-mapped IPv6 addresses are returned as IPv4."""
    host = str(connection.transport.getHost().host).partition("%")[0]
    mapped = IPv6Address(host).ipv4_mapped if ":" in host else None
    return str(mapped or host)


def bracketed(host: str) -> str:
    """Format a host for use in front of `:port`; an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host else host


class Advertised:
    """The host that is given to clients.

    Args:
        host: Address on which the simulator listens.
        advertise: Host name or address to give to clients instead; empty for none.
    """

    def __init__(self, host: str, advertise: str = "") -> None:
        self.host = host
        self.advertise = check_advertise(advertise)
        self._fixed = self.advertise or ("" if is_wildcard(host) else host)

    def to(self, connection: ServerConnection | None = None) -> str:
        """Return the host under which the client of a connection reaches the simulator.

        Args:
            connection: The connection; `None` for a client on this machine.

        Returns:
            1. The advertised host, if one is configured.
            2. Otherwise the address on which the simulator listens, unless that is a wildcard.
            3. Otherwise the local address of the connection, or a loopback address without a connection.
        """
        return self._fixed or (loopback(self.host) if connection is None else local_address(connection))

    def is_ours(self, host: str, connection: ServerConnection) -> bool:
        """Return whether a Host header names this machine. Other requests are rejected, to prevent DNS rebinding.

        In that attack, the DNS name of a web page is changed to resolve to this machine. The browser then sends the
        page's name as Host. An IP address cannot be rebound, so the connection's local address is accepted as well.
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
