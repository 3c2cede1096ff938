"""The addresses of instances that have one of their own."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from simulator.fleet import spread_ips

LOOPBACK = IPv4Network("127.0.0.0/8")


def test_each_address_is_one_of_the_loopback_net_however_many_instances_there_have_been() -> None:
    for number in range(0, 10_000, 125):
        assert all(IPv4Address(ip) in LOOPBACK for ip in spread_ips(300, number))


def test_the_first_choices_of_3750_instances_differ() -> None:
    assert len({spread_ips(0, number)[0] for number in range(3750)}) == 3750


def test_services_have_different_addresses() -> None:
    assert not set(spread_ips(0, 7)) & set(spread_ips(1, 7))
