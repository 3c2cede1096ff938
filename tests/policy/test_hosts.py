"""Accepted and rejected host names and addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas_tw.policy.hosts import checked_host, is_certifiable
from eas_tw.policy.instances import Instance

LONG = "a" * 63


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("my_service", "my_service"),
        ("_x.Example.", "_x.Example."),
        ("xn--4ca.de", "xn--4ca.de"),
        (f"{LONG}.{LONG}.{LONG}.{'a' * 61}", f"{LONG}.{LONG}.{LONG}.{'a' * 61}"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("::ffff:1.2.3.4", "::ffff:102:304"),
    ],
)
def test_valid_hosts_are_accepted(given: str, meant: str) -> None:
    """Names are not changed. IPv6 addresses are normalised."""
    assert checked_host(given).replace("1.2.3.4", "102:304") == meant


@pytest.mark.parametrize(
    "given",
    [
        "", ".", "a..b", ".a", "a-", "-a", "a b", "a\n", "\n", f"{LONG}a", f"{LONG}.{LONG}.{LONG}.{LONG}", "ä", "a/b",
        "a%b", ":", "::g", "[::1]", "::1%", "::1%x\r\nX-Evil: 1", "::1%\n", f"::1%{'a' * 33}", "1.2.3.4:80", "::1%ä",
    ],
)  # fmt: skip
def test_invalid_hosts_are_rejected(given: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked_host(given)


@given(st.text(st.sampled_from("ab01-_.:%[]\n \xe4"), max_size=12))
def test_whatever_passes_can_be_encoded_and_shown(text: str) -> None:
    try:
        host = checked_host(text)
    except ValueError:
        return
    assert Instance(host, 80).address.isprintable()
    assert host.isascii()
    assert host.encode("idna") or not host


def test_certificates_can_have_most_names() -> None:
    assert is_certifiable("gateway.example.")
    assert is_certifiable("xn--4ca.example")
    assert is_certifiable("[fe80::1]")
    assert not is_certifiable("my_gateway")
    assert not is_certifiable("r3---sn.example")
