"""Twisted endpoints for the control plane and the gateway: TCP to an address or a name, and TLS for https."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS

from eas_tw.errors import ConfigError
from eas_tw.net.names import NamedEndpoint, Names, names_of
from eas_tw.policy.hosts import is_certifiable

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamClientEndpoint
    from twisted.web.client import BrowserLikePolicyForHTTPS

    from eas_tw.net.pool import Reactor

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


class Endpoints:
    """Creates Twisted endpoints for TCP and TLS.

    Args:
        reactor: The reactor, for timers and connections.
        timeout_s: Maximum time for opening a connection, in seconds.
        trust_roots: PEM file with the certificate authorities to trust; `None` for the platform's certificate
            authorities.

    Raises:
        ConfigError: `trust_roots` cannot be read, or has no certificate.
    """

    def __init__(self, reactor: Reactor, timeout_s: float, trust_roots: str | None = None) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._policy = _policy(trust_roots) if trust_roots else None
        self._names: Names | None = None

    def tcp(self, host: str, port: int) -> IStreamClientEndpoint:
        """Return an endpoint without TLS."""
        # An IP address needs neither a resolver nor concurrent connects to several addresses, which take half of the
        # CPU time of a connection.
        if isIPAddress(host):
            return TCP4ClientEndpoint(self._reactor, host, port, timeout=self._timeout_s)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(self._reactor, host, port, timeout=self._timeout_s)
        self._names = self._names or names_of(self._reactor, self._timeout_s)
        if self._names is None:
            # HostnameEndpoint rejects names that IDNA does not allow, such as docker compose's `my_service`.
            kind = HostnameEndpoint if is_certifiable(host) else TCP4ClientEndpoint
            return kind(self._reactor, host, port, timeout=self._timeout_s)
        return NamedEndpoint(self._reactor, self._names, host, port, self._timeout_s)

    def secured(self, endpoint: IStreamClientEndpoint, host: str, port: int) -> IStreamClientEndpoint:
        """Wrap an endpoint that connects to `host` in TLS."""
        if self._policy is None:
            self._policy = _policy(None)
        # A server name in TLS has no dot at its end (RFC 6066 §3), unlike an absolute host name.
        return wrapClientTLS(self._policy.creatorForNetloc(host.rstrip(".").encode("ascii"), port), endpoint)


def _policy(trust_roots: str | None) -> BrowserLikePolicyForHTTPS:
    """Return a TLS policy that trusts the authorities in a file; verification cannot be switched off."""
    # The class is imported here, because it needs the `tls` extra, and most clients do not use https.
    from twisted.web.client import BrowserLikePolicyForHTTPS  # noqa: PLC0415

    if trust_roots is None:
        return BrowserLikePolicyForHTTPS()
    from twisted.internet.ssl import Certificate, trustRootFromCertificates  # noqa: PLC0415

    try:
        blocks = _CERTIFICATE.findall(Path(trust_roots).read_text("ascii"))
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except Exception as error:  # OpenSSL's errors have no common base class
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"trust_roots: {trust_roots} cannot be read: {why}") from error
    if not certificates:
        raise ConfigError(f"trust_roots: {trust_roots} has no certificate; it must be a PEM file")
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates(certificates))
