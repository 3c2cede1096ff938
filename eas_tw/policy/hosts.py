"""Validation of host names and addresses where they enter the client.

A checked host can be resolved, connected to, and put into a Host header and a log line. Without the check, Twisted and
Python's IDNA codec raise exceptions where no code handles them: a name with an empty label fails inside the resolver's
thread, and the connection is never reported as failed.
"""

from __future__ import annotations

import ipaddress
import re

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
"""The form of a host name (RFC 1123 §2.1, RFC 1035 §2.3.4), plus underscores, which docker compose allows."""
_ZONE = re.compile(r"[A-Za-z0-9._~-]{1,32}")
"""The form of a zone (RFC 6874 §2): the name of a network interface, which is at most 15 bytes on Linux."""


def checked_host(text: str) -> str:
    """Validate a host name or address, and return it; an IPv6 address gets its canonical spelling.

    Args:
        text: A name, with or without a dot at its end, or an IP address without brackets. Only an IPv6 address may
            have a zone (`fe80::1%eth0`).

    Raises:
        ValueError: The text is neither a valid name nor a valid address; the message states the reason.
    """
    if ":" in text:
        address, percent, zone = text.partition("%")
        if percent and not _ZONE.fullmatch(zone):
            raise ValueError("the zone of an IPv6 address must be the name of a network interface")
        return str(ipaddress.IPv6Address(address)) + percent + zone
    if not text.isascii():
        raise ValueError("a name that is not ASCII must be written in its IDNA form, xn--…")
    if not _NAME.fullmatch(text):
        raise ValueError("each part of a name must be 1 to 63 letters, digits, - and _, without - at either end")
    return text


def is_certifiable(name: str) -> bool:
    """Return whether TLS can verify a certificate for a name; IDNA rules exclude names with `_` or like `ab--c`."""
    return "_" not in name and not any(label[2:4] == "--" for label in name.split(".") if label[:2].lower() != "xn")
