"""The programs of a world: the clients under test, and the other programs that make calls or watch a queue.

Each program uses the real client, and runs on its own host.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import fields
from twisted.web.client import Agent

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, ConfigError, PredictClient, QueueClient
from simulator.scenario_model import ScenarioError
from simulator.scenario_values import known
from simulator.seeds import client_seed
from simulator.virtual.client_under_test import ClientUnderTest
from simulator.virtual.clocks import ElapsedReactor
from simulator.virtual.gateway_calls import GatewayCalls
from simulator.virtual.lives import Lives
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.own_balancers import OWN_BALANCERS
from simulator.virtual.queue_traffic import QUEUE, QueueTraffic

if TYPE_CHECKING:
    from random import Random

    from simulator.fleet import Service
    from simulator.virtual.network.network import Network
    from simulator.virtual.oracle import Oracle
    from simulator.virtual.plan import RunPlan

SERVICE = "echo"
SERVICES = (SERVICE, "other")
LIVES_IP = "10.3.0.1"
GATEWAY_CLIENT_IP = "10.4.0.1"


class Programs:
    """Creates the programs of one world.

    Args:
        plan: The plan of the run.
        network: The network.
        oracle: Checks the behaviour of the programs.
        url: The endpoint.
        token: The token of the services; empty for none.

    Attributes:
        clocks: The reactors that clients use instead of the reactors of their hosts, if timers use elapsed time.
    """

    def __init__(self, plan: RunPlan, network: Network, oracle: Oracle, url: str, token: str) -> None:
        self._plan = plan
        self._network = network
        self._scheduler = network.scheduler
        self._oracle = oracle
        self._url = url
        self._token = token
        self.clocks: list[ElapsedReactor] = []

    def client_under_test(self, number: int) -> ClientUnderTest:
        """Create a client under test.

        Args:
            number: Its number, from 0.

        Raises:
            ScenarioError: The plan has invalid settings of the client.
        """
        reactor = VirtualReactor(self._network, f"10.1.{number // 250}.{number % 250 + 1}")
        settings = {"seed": client_seed(self._plan.seed * 1000 + number), **self._plan.settings_of(number)}
        known("$.client", settings, [setting.name for setting in fields(ClientConfig)], "ClientConfig")
        if settings.get("balancer") in OWN_BALANCERS:
            settings["balancer"] = partial(self._own_balancer, number, OWN_BALANCERS[settings["balancer"]])
        try:
            config = ClientConfig(**settings)
        except (ConfigError, TypeError) as error:
            raise ScenarioError(f"$.client: {error}") from error
        client = self._client(self._clock_of(reactor), reactor, config, endpoint_type=ENDPOINT_TYPE_DIRECT)
        return self._under_test(number, client, reactor, is_parent=True)

    def child(self, number: int, parent: ClientUnderTest) -> ClientUnderTest:
        """Create a client of the second service; it shares its parent's connections, but has its own retry budget."""
        child = parent.client.child(SERVICES[1], token=self._token)
        return self._under_test(number, child, parent.reactor, is_parent=False)

    def lives(self) -> Lives:
        """Create the program that restarts again and again."""
        reactor = VirtualReactor(self._network, LIVES_IP)

        def make(directory: str, settings: dict[str, Any]) -> Any:
            config = ClientConfig(seed=client_seed(self._plan.seed), snapshot_path=directory, **settings)
            return self._client(reactor, reactor, config, endpoint_type=ENDPOINT_TYPE_DIRECT)

        return Lives(
            self._network,
            reactor,
            self._scheduler.stream("lives"),
            make,
            service=SERVICE,
            child_of=SERVICES[self._plan.services - 1],
            pause_s=self._plan.restarts_s,
            is_disturbed=self._is_discovery_disturbed,
            report=self._oracle.report,
        )

    def gateway_calls(self) -> GatewayCalls:
        """Create the program that calls through the gateway."""
        reactor = VirtualReactor(self._network, GATEWAY_CLIENT_IP)

        def make(settings: dict[str, Any], agent: Any) -> PredictClient:
            return self._client(
                reactor, reactor, ClientConfig(seed=client_seed(self._plan.seed), **settings), agent=agent
            )

        return GatewayCalls(
            self._network,
            reactor,
            self._scheduler.stream("gateway calls"),
            make,
            agent=Agent(reactor, connectTimeout=1.0) if self._plan.gateway == "agent" else None,
            attribution=self._oracle.attribution,
            report=self._oracle.report,
            has_streams=bool(self._plan.streams_per_s),
        )

    def queue_traffic(self, service: Service) -> QueueTraffic:
        """Create the producers and consumers of a queue service."""
        # A watch over plain HTTP occupies a connection of its pool, and commits need another one.
        settings = {**self._plan.client, "max_connections_per_instance": 100}

        def make(reactor: VirtualReactor, user: str | None, group: str, seed: int) -> QueueClient:
            return QueueClient(
                self._url,
                QUEUE,
                token=lambda: self._token,  # the clients of the other services have a string
                user=user,
                group=group,
                endpoint_type=ENDPOINT_TYPE_DIRECT,
                reactor=reactor,
                config=ClientConfig(**{**settings, "seed": client_seed(self._plan.seed * 1000 + seed)}),
                wall_clock=reactor.wall_seconds,
            )

        return QueueTraffic(
            self._network,
            service,
            self._plan,
            make,
            attribution=self._oracle.attribution,
            report=self._oracle.report,
        )

    # -- internals

    def _client(self, reactor: Any, host: VirtualReactor, config: ClientConfig, **more: Any) -> PredictClient:
        return PredictClient(
            self._url,
            SERVICE,
            token=self._token,
            reactor=reactor,
            config=config,
            wall_clock=host.wall_seconds,
            **more,
        )

    def _own_balancer(self, number: int, kind: type[Any], rng: Random) -> Any:
        """Create the balancer of a client's program; the client calls this function as its balancer factory."""
        balancer = kind(rng, partial(self._oracle.keys.contradicted, number))
        self._oracle.keys.watch(number, balancer)
        return balancer

    def _under_test(self, number: int, client: Any, reactor: VirtualReactor, *, is_parent: bool) -> ClientUnderTest:
        return ClientUnderTest(
            number,
            client,
            reactor,
            self._scheduler.elapsed,
            is_parent=is_parent,
            is_named=self._plan.is_named,
            is_monotonic=self._plan.is_monotonic,
        )

    def _clock_of(self, host: VirtualReactor) -> VirtualReactor | ElapsedReactor:
        """Return the reactor to pass to a client: that of its host, or a new `ElapsedReactor`."""
        if not self._plan.is_monotonic:
            return host
        self.clocks.append(ElapsedReactor(host, self._scheduler))
        return self.clocks[-1]

    def _is_discovery_disturbed(self, since_s: float) -> bool:
        attribution, now_s = self._oracle.attribution, self._scheduler.elapsed()
        # No client has the number -1: faults in the clients' processes do not affect this program. Faults of the name
        # server do, because each life has to resolve the name again.
        return attribution.disturbs_replies(-1, since_s, now_s) or attribution.disturbs_names(since_s, now_s)
