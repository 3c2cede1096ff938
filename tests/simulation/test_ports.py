"""An address that is released and bound again in one reactor iteration, as when an instance crashes and restarts."""

from __future__ import annotations

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory

from simulator.ports import Address


def test_a_released_address_can_be_bound_again_immediately() -> None:
    reactor = EPollReactor()
    seen: list[bool] = []
    factory = Factory()
    factory.noisy = False

    def begin() -> None:
        address = Address(reactor, "127.0.0.1")
        address.listen(factory)
        address.refuse()
        address.listen(factory)
        reactor.callLater(0.05, check, address)

    def check(address: Address) -> None:
        seen.append(address.is_listening)
        address.give_up().addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    reactor.removeAll()
    reactor._poller.close()
    assert seen == [True]
