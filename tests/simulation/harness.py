"""Test harness: the real client and the real simulator on a virtual network, with injected faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient
from simulator import Fault, ServiceSpec, Simulator
from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from simulator.instance import SimulatedInstance

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
TOKEN = "a-token-nobody-may-see"
_observers: list[Any] = []


def remove_observers() -> None:
    """Remove the log observers of all harnesses, also of those that were not closed because their test failed."""
    while _observers:
        globalLogPublisher.removeObserver(_observers.pop())


class Harness:
    """A world with one service and one client, and methods that inject faults."""

    def __init__(
        self,
        *,
        seed: int = 1,
        service: str = "echo",
        instances: int = 3,
        weights: tuple[float, ...] = (),
        endpoint_type: str = ENDPOINT_TYPE_DIRECT,
        jitter_s: float = 0.0,
        processor: Any = "",
        **settings: Any,
    ) -> None:
        self.scheduler = Scheduler(seed)
        self.network = Network(self.scheduler, jitter_s=jitter_s)
        self.reactor = VirtualReactor(self.network, CLIENT)
        spec = ServiceSpec(service, instances, weights, TOKEN, processor)
        self.world = Simulator(VirtualReactor(self.network, SERVER), seed=seed, host=SERVER, services=[spec])
        self.world.start()
        self.client = PredictClient(
            self.world.url,
            service,
            token=TOKEN,
            endpoint_type=endpoint_type,
            reactor=self.reactor,
            config=ClientConfig(**{"seed": seed, **settings}),
        )
        self.logged: list[dict[str, Any]] = []
        _observers.append(self.logged.append)
        globalLogPublisher.addObserver(self.logged.append)
        self.started = 0
        self.ended: list[Any] = []

    def run(self, what: Deferred[Any] | Coroutine[Any, Any, Any], timeout_s: float = 60.0) -> Any:
        """Advance virtual time until a Deferred or coroutine ends, and return its result."""
        results: list[Any] = []
        waiting = what if isinstance(what, Deferred) else Deferred.fromCoroutine(what)
        waiting.addBoth(results.append)
        assert self.scheduler.run_until(lambda: bool(results), timeout_s), "it never ended"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def init(self) -> Harness:
        self.run(self.client.init())
        return self

    def wait(self, seconds: float) -> None:
        self.scheduler.run_for(seconds)

    def call(self) -> str:
        """Make one call, and wait for its end."""
        return str(self.run(self.client.predict(f"call {self.started}")))

    def begin_call(self) -> None:
        """Begin one call that must get the response to its own body."""
        self.started += 1
        body = f"call {self.started}"
        answered = self.client.predict(body)
        answered.addCallback(lambda response: "ok" if str(response) == body else f"wrong answer to {body}")
        answered.addErrback(lambda failure: failure.value)
        answered.addCallback(self.ended.append)

    def traffic(self, seconds: float, per_s: float = 20.0) -> None:
        """Make calls at a steady rate for `seconds` of virtual time."""
        for _ in range(round(seconds * per_s)):
            self.begin_call()
            self.wait(1 / per_s)

    def instance(self, number: int) -> SimulatedInstance:
        return self.world.instance(f"{self.client._target.service}-{number}")

    def discovery_fault(self, type_: str, **attributes: Any) -> None:
        """Replace the active fault of discovery."""
        self.world.faults.add(Fault(type_, attributes=attributes, name="bad-list"))

    def heal(self) -> None:
        self.world.faults.clear()

    @property
    def lost(self) -> list[Any]:
        """Return the calls that failed, hung, or got the response to another call."""
        return [end for end in self.ended if end != "ok"] + ["no end"] * (self.started - len(self.ended))

    def assert_clean(self) -> None:
        """Close client and simulator, and check that nothing is left and no error was logged."""
        self.wait(10.0)
        self.run(self.client.close())
        mine = [event for event in self.scheduler.pending if "eas_tw" in repr(event)]
        assert not mine
        self.run(self.world.stop())
        self.wait(1.0)
        globalLogPublisher.removeObserver(self.logged.append)
        assert not self.network.transports
        assert not self.scheduler.errors
        assert not self.scheduler.pending
        assert not [event for event in self.logged if event["log_level"] >= LogLevel.error]
        assert TOKEN not in repr(self.logged)
        assert TOKEN not in repr(self.client)
