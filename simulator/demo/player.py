"""Plays a scenario: runs a simulator, a client with steady traffic and the timeline, and records the calls.

The reactors are arguments. On real sockets the simulator and the client share a reactor. In virtual time the client has
its own reactor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import evolve, fields, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, ConfigError, EasError, PredictClient
from simulator.demo.traffic import ANY, ECHO, MNIST, DemoTraffic
from simulator.expectations import ExpectationResult, RequestRecord, TrafficAccount, judge
from simulator.processors import BUILT_IN
from simulator.scenario_model import ScenarioError
from simulator.seeds import client_seed
from simulator.service_spec import DEFAULT_SERVICES
from simulator.simulator import Simulator
from simulator.timeline import Timeline, TimelineStep

if TYPE_CHECKING:
    from simulator.fleet import Service
    from simulator.scenario_model import Scenario

CALLS_PER_S = 50.0
MAX_CALLS_PER_S = 100_000
_TOKEN = "demo-token"  # noqa: S105  the token of the demo's own services
_DEFAULTS = {"poll_interval_s": 1.0, "discovery_timeout_s": 0.5, "attempt_timeout_s": 0.5}
_OURS = ("service", "calls_per_s")
_SETTINGS = [setting.name for setting in fields(ClientConfig)]


@frozen
class DemoOutcome:
    """The outcome of a played scenario."""

    account: TrafficAccount
    results: list[ExpectationResult]

    @property
    def is_good(self) -> bool:
        """Whether every expectation was met."""
        return all(result.is_met for result in self.results)

    def summary(self) -> dict[str, Any]:
        """Return the counts of the outcome, as `demo --json` prints them."""
        account = self.account
        return {
            "calls": len(account.calls),
            "lost": len(account.lost),
            "retries": account.retries,
            "discovery_requests": account.discovery_requests,
            "instance_requests": len(account.requests),
            "discovery_refused": dict(account.discovery_refused),
        }


class Audience(Protocol):
    """Receives the progress of a player."""

    def begins(self) -> None:
        """Called when everything listens."""

    def turned(self, step: TimelineStep) -> None:
        """Called when a step of the timeline has been carried out."""

    def draw(self) -> None:
        """Called at regular intervals, to refresh the display."""

    def ended(self) -> None:
        """Called when the last call has ended."""


def client_config(scenario: Scenario, seed: int = 0) -> ClientConfig:
    """Build the settings of a scenario's client.

    Raises:
        ScenarioError: A setting is unknown, or its value is invalid.
    """
    given = {name: value for name, value in scenario.client.items() if name not in _OURS}
    for name in given:
        if name not in _SETTINGS or name == "seed":
            raise ScenarioError(
                f"$.client.{name}: unknown; a client has calls_per_s, service and ClientConfig's fields"
            )
    try:
        config = ClientConfig(**{**_DEFAULTS, **given}, seed=client_seed(seed))
    except (ConfigError, TypeError) as error:
        raise ScenarioError(f"$.client: {error}") from None
    rate = scenario.client.get("calls_per_s", CALLS_PER_S)
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate <= MAX_CALLS_PER_S:
        raise ScenarioError(f"$.client.calls_per_s: expected a number ≥ 0 and ≤ {MAX_CALLS_PER_S}, got {rate!r}")
    names = [spec.name for spec in scenario.services or DEFAULT_SERVICES]
    if scenario.client.get("service", names[0]) not in names:
        raise ScenarioError(f"$.client.service: expected one of {', '.join(names)}, got {scenario.client['service']!r}")
    return config


class Player:
    """Plays one scenario with a simulator and a client.

    Args:
        scenario: The scenario.
        reactor: Reactor of the simulator.
        seed: Seed of all random draws.
        client_reactor: Reactor of the client; `None` for the reactor of the simulator.
        host: Address on which the simulator listens.

    Raises:
        ScenarioError: The client's settings are invalid.
    """

    def __init__(
        self, scenario: Scenario, *, reactor: Any, seed: int, client_reactor: Any = None, host: str = "127.0.0.1"
    ) -> None:
        self.scenario = scenario
        self.config = client_config(scenario, seed)
        self._reactor = client_reactor or reactor
        specs = scenario.services or tuple(evolve(spec, token=_TOKEN) for spec in DEFAULT_SERVICES)
        self.world = Simulator(reactor, seed=seed, host=host, services=specs)
        self.service: Service = self.world.services[scenario.client.get("service", specs[0].name)]
        self.calls_per_s: float = scenario.client.get("calls_per_s", CALLS_PER_S)
        self.account = TrafficAccount()
        self.client: PredictClient
        self.traffic: DemoTraffic
        self._began = 0.0
        self._is_calling = False

    async def play(self, audience: Audience) -> DemoOutcome:
        """Play the scenario from the first step to the end of the last call."""
        await self.world.start()
        self.client = PredictClient(
            self.world.url,
            self.service.name,
            token=self.service.token,
            endpoint_type=ENDPOINT_TYPE_DIRECT,
            reactor=self._reactor,
            config=self.config,
        )
        self.traffic = DemoTraffic(self._reactor, self.client, self._kind(), self.account.calls.append)
        audience.begins()
        await self._tell(audience)
        await self.traffic.stop()
        self._close_account()
        audience.ended()
        await self.client.close()
        await self.world.stop()
        return DemoOutcome(self.account, judge(self.scenario.expectations, self.account))

    async def _tell(self, audience: Audience) -> None:
        self._began = self._reactor.seconds()

        def told(step: TimelineStep) -> None:
            if step.do == "traffic":
                self._set_traffic(step.calls_per_s)
            audience.turned(step)

        timeline = Timeline(self.world, self.scenario.timeline, told)
        drawing = LoopingCall(audience.draw)
        drawing.clock = self._reactor
        timeline.start()
        drawing.start(0.2)
        getting_ready = Deferred.fromCoroutine(self._get_ready())
        await deferLater(self._reactor, self.scenario.length_s)
        getting_ready.addErrback(lambda failure: failure.trap(CancelledError))
        getting_ready.cancel()
        drawing.stop()
        timeline.stop()

    async def _get_ready(self) -> None:
        """Repeat `init` until it succeeds, and then start the calls."""
        while self.account.ready_s is None:
            try:
                await self.client.init()
            except EasError:
                await deferLater(self._reactor, self.config.poll_interval_s)
            else:
                self.account.ready_s = self._reactor.seconds() - self._began
        self._is_calling = True
        self._set_traffic(self.calls_per_s)

    def _set_traffic(self, calls_per_s: float) -> None:
        self.calls_per_s = calls_per_s
        if self._is_calling:
            self.traffic.start(calls_per_s, self._began)

    def _close_account(self) -> None:
        account, client = self.account, self.client
        account.requests = [
            RequestRecord(row.at - self._began, row.instance, row.status) for row in self.world.journal.rows
        ]
        account.retries = client.counters.retries.total()
        account.discovery_requests = self.world.control_plane.requests.total()
        account.discovery_refused.update(client.discovery.rejections)
        account.known = len(client.instances)
        account.ejected = len(client.ejected)

    def _kind(self) -> str:
        if self.service.processor is BUILT_IN["mnist"]:
            return MNIST
        return ECHO if self.service.processor is BUILT_IN["echo"] else ANY
