"""IP addresses of instances with `--spread-ips`, one for each instance."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from simulator.fleet import spread_ips

LOOPBACK = IPv4Network("127.0.0.0/8")


def test_each_address_is_in_the_loopback_network() -> None:
    for number in range(0, 10_000, 125):
        assert all(IPv4Address(ip) in LOOPBACK for ip in spread_ips(300, number))


def test_the_first_choices_of_3750_instances_differ() -> None:
    assert len({spread_ips(0, number)[0] for number in range(3750)}) == 3750


def test_services_have_different_addresses() -> None:
    assert not set(spread_ips(0, 7)) & set(spread_ips(1, 7))
