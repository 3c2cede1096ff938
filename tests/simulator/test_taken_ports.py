"""Ports in use: what could not be started is stopped completely, and does not count as listening."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from simulator import Fault, ServiceSpec, Simulator, Target
from simulator.fleet import ResetError
from simulator.instance import State
from simulator.ports import Address
from simulator.service_spec import SpecError
from simulator.timeline import Timeline, TimelineStep
from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler
from tests.net.calling import Result, logged_events

HOST = "10.0.0.2"
LOOPBACK = "127.0.0.1"
FIRST = 9000


class Host:
    """A virtual host, on which a simulator gives its instances the ports from `FIRST`."""

    def __init__(self, first: int = FIRST, services: tuple[ServiceSpec, ...] = (ServiceSpec("echo", 2),)) -> None:
        self.scheduler = Scheduler()
        self.reactor = VirtualReactor(Network(self.scheduler), HOST)
        self.world = Simulator(self.reactor, host=HOST, services=services, port=8780, instance_port=first)

    def take(self, port: int) -> Any:
        """Listen on a port, as another program would, and return the listener."""
        return self.reactor.listenTCP(port, Factory(), interface=HOST)

    def remove(self, instance_id: str) -> None:
        """Remove an instance, and wait until its port is free."""
        self.world.instance(instance_id).service.remove_instance(instance_id)
        self.scheduler.run_for(0.1)

    def is_free(self, port: int) -> bool:
        """Return whether nothing listens on a port."""
        self.scheduler.run_for(0.1)
        try:
            listening = self.reactor.listenTCP(port, Factory(), interface=HOST)
        except CannotListenError:
            return False
        listening.stopListening()
        self.scheduler.run_for(0.1)
        return True


@pytest.mark.parametrize("taken", [8780, FIRST, FIRST + 1])
def test_a_simulator_that_cannot_start_leaves_no_port_open(taken: int) -> None:
    host = Host()
    host.take(taken)
    with pytest.raises(CannotListenError):
        host.world.start()
    assert [port for port in (8780, FIRST, FIRST + 1) if not host.is_free(port)] == [taken]


def test_a_service_that_cannot_be_added_leaves_no_port_open() -> None:
    host = Host()
    host.world.start()
    host.take(FIRST + 4)
    with pytest.raises(CannotListenError):
        host.world.add_service(ServiceSpec("other", 3))
    assert host.is_free(FIRST + 2)
    assert host.is_free(FIRST + 3)
    assert list(host.world.services) == ["echo"]


def test_a_service_for_which_too_few_ports_are_left_leaves_no_port_open() -> None:
    host = Host(first=65_533)
    host.world.start()
    with pytest.raises(SpecError):
        host.world.add_service(ServiceSpec("other", 2))
    assert host.is_free(65_535)


def test_a_service_that_cannot_be_reset_keeps_its_instances() -> None:
    """An instance that the service no longer knew would listen until the end of the program."""
    host = Host()
    host.world.start()
    host.remove("echo-0")
    host.take(FIRST)
    resetting = Result(host.world.reset())
    host.scheduler.run_for(0.1)
    assert isinstance(resetting.error, ResetError)
    assert list(host.world.services["echo"].instances) == ["echo-1"]
    host.world.stop()
    assert host.is_free(FIRST + 1)


def test_everything_else_is_reset_if_ports_are_taken() -> None:
    host = Host(services=(ServiceSpec("first", 3), ServiceSpec("second", 2)))
    host.world.start()
    resets: list[int] = []
    host.world.on_reset.append(lambda: resets.append(1))
    for instance_id in ("first-0", "first-1", "second-0"):
        host.remove(instance_id)
    first, second = host.world.services.values()
    second.add_instance()
    for instance in (first.instances["first-2"], second.instances["second-1"]):
        instance.crash()
        instance.weight, instance.registered = 1, False
    host.take(FIRST)
    host.take(FIRST + 3)
    resetting = Result(host.world.reset(seed=5))
    host.scheduler.run_for(0.1)
    assert str(resetting.error) == (
        f"instance first-0 (and 1 more) cannot be started: port {FIRST} is taken; everything else is reset"
    )
    assert list(resetting.error.errors) == ["first-0", "second-0"]
    found = {**first.instances, **second.instances}
    assert list(found) == ["first-1", "first-2", "second-1"]
    assert all(instance.address.is_listening and instance.registered for instance in found.values())
    assert {instance.weight for instance in found.values()} == {100}
    assert (host.world.seed, resets) == (5, [1])


def test_a_reset_after_a_port_is_free_again_starts_the_missing_instance() -> None:
    host = Host()
    host.world.start()
    host.remove("echo-0")
    taken = host.take(FIRST)
    assert isinstance(Result(host.world.reset()).error, ResetError)
    taken.stopListening()
    host.scheduler.run_for(0.1)
    resetting = Result(host.world.reset())
    host.scheduler.run_for(0.1)
    assert resetting.fired == [None]
    assert list(host.world.services["echo"].instances) == ["echo-0", "echo-1"]


def test_a_crashed_instance_whose_port_is_taken_is_reported() -> None:
    """On a virtual network, the port of a crashed instance is not reserved."""
    host = Host()
    host.world.start()
    crashed = host.world.services["echo"].instances["echo-0"]
    crashed.crash()
    host.scheduler.run_for(0.1)
    host.take(FIRST)
    resetting = Result(host.world.reset())
    assert list(resetting.error.errors) == ["echo-0"]
    assert not crashed.address.is_listening
    assert list(host.world.services["echo"].instances) == ["echo-0", "echo-1"]


def test_a_crashed_instance_whose_port_is_taken_stays_crashed() -> None:
    host = Host()
    host.world.start()
    crashed = host.world.services["echo"].instances["echo-0"]
    crashed.crash()
    host.scheduler.run_for(0.1)
    taken = host.take(FIRST)
    with pytest.raises(CannotListenError):
        crashed.restart()
    assert (crashed.state, crashed.address.is_listening) == (State.CRASHED, False)
    taken.stopListening()
    host.scheduler.run_for(0.1)
    crashed.restart()
    assert (crashed.state, crashed.address.is_listening) == (State.RUNNING, True)


def test_an_instance_that_stays_crashed_takes_no_frame_of_its_queue() -> None:
    host = Host(services=(ServiceSpec("echo", 1, queue_service=True),))
    host.world.start()
    service = host.world.services["echo"]
    crashed = service.instances["echo-0"]
    crashed.crash()
    host.scheduler.run_for(0.1)
    taken = host.take(FIRST)
    assert service.queues is not None
    service.queues.input.put(b"frame", {})
    results = service.queues.sink.store.frames
    with pytest.raises(CannotListenError):
        crashed.restart()
    host.scheduler.run_for(0.1)
    assert not results
    taken.stopListening()
    host.scheduler.run_for(0.1)
    crashed.restart()
    host.scheduler.run_for(0.1)
    assert [frame.data for frame in results.values()] == [b"frame"]


def test_a_step_of_a_timeline_adds_all_its_instances_or_none() -> None:
    host = Host()
    host.world.start()
    host.take(FIRST + 3)  # the port of the second new instance
    with logged_events() as events:
        Timeline(host.world, [TimelineStep(0, "add", service="echo", count=2)]).start()
    assert [event["step"] for event in events if "step" in event] == ["add 2 to echo"]
    assert list(host.world.services["echo"].instances) == ["echo-0", "echo-1"]
    assert host.is_free(FIRST + 2)


@pytest.mark.parametrize(("first", "error"), [(FIRST, CannotListenError), (65_533, SpecError)])
def test_a_service_that_cannot_be_replaced_keeps_exactly_its_instances(first: int, error: type[Exception]) -> None:
    host = Host(first)
    host.world.start()
    if error is CannotListenError:
        host.take(first + 3)  # the port of the second new instance
    with pytest.raises(error):
        host.world.services["echo"].replace()
    kept = host.world.services["echo"].instances
    assert {instance.id: instance.address.is_listening for instance in kept.values()} == {
        "echo-0": True,
        "echo-1": True,
    }
    assert host.is_free(first + 2)


def test_everything_else_is_reset_if_the_port_behind_a_fault_is_taken() -> None:
    host = Host()
    host.world.start()
    host.world.faults.add(Fault("refuse", Target(service="echo")))
    host.scheduler.run_for(0.1)
    host.take(FIRST)
    with logged_events() as events:
        resetting = Result(host.world.reset())
    assert list(resetting.error.errors) == ["echo-0"]
    assert host.world.services["echo"].instances["echo-1"].address.is_listening
    assert "echo-0" in [event.get("instance") for event in events]


def test_instances_are_in_the_order_of_their_numbers_after_a_reset() -> None:
    host = Host()
    host.world.start()
    host.world.services["echo"].remove_instance("echo-0")
    host.scheduler.run_for(0.1)
    host.world.reset()
    assert list(host.world.services["echo"].instances) == ["echo-0", "echo-1"]


def test_an_address_in_use_does_not_count_as_listening() -> None:
    host = Host()
    host.take(FIRST)
    address = Address(host.reactor, HOST, FIRST)
    with pytest.raises(CannotListenError):
        address.listen(Factory())
    assert not address.is_listening


def test_an_address_taken_while_it_is_closed_does_not_count_as_listening() -> None:
    host = Host()
    address = Address(host.reactor, HOST)
    address.listen(Factory())
    problems = []
    address.refuse().addErrback(problems.append)
    address.listen(Factory())
    assert address.is_listening
    host.take(FIRST)
    address.port = FIRST
    host.scheduler.run_for(0.1)
    assert [problem.type for problem in problems] == [CannotListenError]
    assert not address.is_listening


class TestHolder:
    """The socket that keeps the address of an instance that refuses connections."""

    @pytest.fixture(autouse=True)
    def _made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[socket.socket] = []
        make = socket.socket

        def record(*arguments: int) -> socket.socket:
            self.made.append(make(*arguments))
            return self.made[-1]

        monkeypatch.setattr("simulator.ports.socket.socket", record)

    @property
    def open_sockets(self) -> list[socket.socket]:
        return [made for made in self.made if made.fileno() != -1]

    def test_it_is_closed_if_another_program_has_the_address(self) -> None:
        with socket.create_server((LOOPBACK, 0)) as taken:
            self.made.clear()
            address = Address(MemoryReactor(), LOOPBACK, taken.getsockname()[1])
            for _ in range(2):
                address.listen(Factory())
                refusing = Result(address.refuse())
                assert isinstance(refusing.error, OSError)
            assert len(self.made) == 2
            assert self.open_sockets == []
            address.give_up()

    def test_it_is_closed_when_the_address_is_given_up_or_listens(self) -> None:
        address = Address(MemoryReactor(), LOOPBACK)
        for end in (address.give_up, lambda: address.listen(Factory())):
            address.listen(Factory())
            address.refuse()
            assert len(self.open_sockets) == 1
            end()
            assert self.open_sockets == []

    def test_it_is_not_made_if_the_address_is_given_up_while_its_listener_is_closed(self) -> None:
        """A crash and a stop in the same reactor iteration would hold the port until the end of the program."""
        reactor, closing = MemoryReactor(), Deferred[None]()
        address = Address(reactor, LOOPBACK)
        address.listen(Factory())
        address._listening.stopListening = lambda: closing  # type: ignore[method-assign, union-attr]
        refusing, giving_up = Result(address.refuse()), Result(address.give_up())
        assert not giving_up.fired
        closing.callback(None)
        assert refusing.value is None
        assert giving_up.value is None
        assert self.made == []
