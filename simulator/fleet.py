"""Services and their instances: which exist, and which are registered with discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError

from simulator.instance import SimulatedInstance
from simulator.processors import Processor, find
from simulator.queues.queue import QueueService
from simulator.service_spec import MAX_INSTANCES, ServiceSpec, SpecError, check_weight
from simulator.stubs import Stubs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.simulator import Simulator

__all__ = ["MAX_INSTANCES", "Service", "ServiceSpec", "SpecError", "check_weight"]

GRACE_S = 30.0
"""Seconds that EAS gives a terminating instance to finish the requests that it has accepted."""
DOCUMENTED_PORT = 50000
_SPREAD_NETS = range(16, 32)
"""Second octets of the addresses of a service's first 250 instances, 127.16.x.y to 127.31.x.y.

The addresses resemble the addresses 172.16.x.y in the EAS documents. If an address is in use, the next octet is tried.
"""
_PER_NET, _BLOCKS = 250, 15
"""Number of instances for each second octet, and number of blocks of 16 second octets (16 to 255).

After 3,750 instances of a service, addresses repeat.
"""


class ResetError(Exception):
    """A reset could not start instances; everything else is reset.

    Args:
        errors: The error of each instance that could not be started, by id; at least one.
    """

    def __init__(self, errors: Mapping[str, Exception]) -> None:
        instance_id, error = next(iter(errors.items()))
        why = f"port {error.port} is taken" if isinstance(error, CannotListenError) else str(error)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"instance {instance_id}{more} cannot be started: {why}; everything else is reset")
        self.errors = errors

    @classmethod
    def raise_for(cls, errors: Mapping[str, Exception]) -> None:
        """Raise a `ResetError` if there are errors."""
        if errors:
            raise cls(errors)


def spread_ips(service: int, number: int) -> list[str]:
    """Return the addresses to try, in order, for an instance with its own address.

    Args:
        service: Number of its service, ≥ 0.
        number: Number of the instance in its service, ≥ 0; removed instances count as well.
    """
    block, last = number // _PER_NET % _BLOCKS, number % _PER_NET + 1
    return [f"127.{net + block * len(_SPREAD_NETS)}.{service % 256}.{last}" for net in _SPREAD_NETS]


class Service:
    """A running service: its instances, processor, stubs and queues."""

    def __init__(self, world: Simulator, spec: ServiceSpec, number: int = 0) -> None:
        self.world = world
        self.spec = spec
        self.name = spec.name
        self.token = spec.token
        self.gateway = spec.gateway
        self.processor: Processor = find(spec.processor, spec.name)
        self.stubs = Stubs()
        self.queues: QueueService | None = None
        if spec.queue_service:
            self.queues = QueueService(
                spec.name,
                world.reactor,
                world.stream(f"queue {spec.name}"),
                payload_bytes=spec.max_payload_bytes,
                input_length=spec.input_length,
                sink_length=spec.sink_length,
            )
        self.instances: dict[str, SimulatedInstance] = {}
        self._number = number
        self._numbered = 0
        self.group = group = spec.name.partition("/")[0] if "/" in spec.name else ""
        names = {spec.name, spec.name.replace("/", ".")} | ({self.group} if group else set())
        self._bases = frozenset(f"/api/predict/{name}" for name in names)
        self._below = tuple(f"{base}/" for base in sorted(self._bases))

    def __repr__(self) -> str:
        return f"<service {self.name} instances={len(self.instances)}>"

    def answers(self, path: str) -> bool:
        """Return whether a path is `/api/predict/NAME` or below it, for a name of the service."""
        return path in self._bases or path.startswith(self._below)

    def below(self, path: str) -> str:
        """Return a request's path relative to the service's own path: empty, or with a leading slash."""
        base = max((base for base in self._bases if path == base or path.startswith(f"{base}/")), key=len, default="")
        return path.removeprefix(base)

    def start(self) -> None:
        """Start the instances of the specification."""
        for number in range(self.spec.instances):
            self.add_instance(weight=self.spec.weight(number))

    def add_instance(self, *, weight: float = 100, registered: bool = True) -> SimulatedInstance:
        """Start another instance on its own address.

        Args:
            weight: Weight in discovery replies.
            registered: Whether discovery replies list the instance.

        Raises:
            SpecError: The weight is invalid, or the service has too many instances.
            CannotListenError: The address is in use.
        """
        if len(self.instances) >= MAX_INSTANCES:
            raise SpecError(f"service {self.name} has {MAX_INSTANCES} instances already")
        instance = self._start(self._numbered, check_weight(weight))
        instance.registered = registered
        self._numbered += 1
        self.instances[instance.id] = instance
        return instance

    def add_instances(self, weights: Sequence[float]) -> None:
        """Start one more instance for each weight: all of them, or none if one cannot be started.

        Raises:
            SpecError: A weight is invalid, the service would have too many instances, or no port is left.
            CannotListenError: An address is in use.
        """
        new: list[SimulatedInstance] = []
        try:
            for weight in weights:
                new.append(self.add_instance(weight=weight))  # noqa: PERF401  `new` is needed after an error
        except (CannotListenError, SpecError):
            for instance in new:
                self.remove_instance(instance.id)
            raise

    def remove_instance(self, instance_id: str) -> Deferred[Any]:
        """Stop and remove an instance; the Deferred fires when its port and connections are closed."""
        return self.instances.pop(instance_id).stop()

    def terminate(self, instance_id: str, grace_s: float = GRACE_S) -> Deferred[None]:
        """Scale an instance in: remove it from discovery replies, let it finish accepted requests, and stop it.

        Args:
            instance_id: Id of the instance.
            grace_s: Seconds after which the instance is stopped in any case, and unfinished requests are reset.

        Returns:
            A Deferred that fires when the instance no longer listens and its idle connections are closed. The instance
            stops later. A change of its state or registration in the meantime cancels the termination.
        """
        instance = self.instances[instance_id]
        instance.registered = False
        draining = instance.drain()

        def end() -> None:
            if self.instances.get(instance_id) is instance and instance.is_draining and not instance.registered:
                self.remove_instance(instance_id)

        self.world.later(grace_s, end)
        instance.server.when_empty().addCallback(lambda _: end())
        return draining

    def replace(self) -> Deferred[Any]:
        """Replace all instances: start the same number on new addresses, and stop the old ones immediately.

        Raises:
            SpecError: The service would have too many instances, or no port is left.
            CannotListenError: An address is in use. In both cases, the service has its old instances.
        """
        old = list(self.instances.values())
        self.add_instances([instance.weight for instance in old])
        return DeferredList([self.remove_instance(instance.id) for instance in old])

    def listed(self) -> list[SimulatedInstance]:
        """Return the instances that are registered with discovery."""
        return [instance for instance in self.instances.values() if instance.registered]

    def reset(self) -> Deferred[Any]:
        """Run exactly the instances of the specification, registered and with their weights; clear stubs and queues.

        Returns:
            A Deferred that fires when all ports listen. It fails with `ResetError` if instances cannot be started; then
            the service has the others.
        """
        self.gateway = self.spec.gateway
        first = dict.fromkeys(self._id(number) for number in range(self.spec.instances))
        waiting = [
            self.remove_instance(instance_id) for instance_id in list(self.instances) if instance_id not in first
        ]
        self.stubs.clear()
        if self.queues is not None:
            self.queues.clear()
        errors: dict[str, Exception] = {}
        for number, instance_id in enumerate(first):
            try:
                if instance_id not in self.instances:
                    self.instances[instance_id] = self._start(number, 100)
                instance = self.instances[instance_id]
                instance.weight = self.spec.weight(number)
                instance.registered = True
                waiting.append(instance.reset())
            except (CannotListenError, SpecError) as error:
                errors[instance_id] = error
        self.instances = {
            instance_id: self.instances[instance_id] for instance_id in first if instance_id in self.instances
        }
        self._numbered = self.spec.instances
        return DeferredList(waiting).addCallback(lambda _: ResetError.raise_for(errors))

    def stop(self) -> Deferred[Any]:
        """Stop all instances; the Deferred fires when all ports and connections are closed."""
        if self.queues is not None:
            self.queues.clear()  # otherwise a stopped instance's frames would be sent to another instance
        return DeferredList([instance.stop() for instance in self.instances.values()])

    def _id(self, number: int) -> str:
        return f"{self.name.replace('/', '.')}-{number}"

    def _start(self, number: int, weight: float) -> SimulatedInstance:
        zone = self.spec.zone(number)
        addresses = [(self.world.host, self.world.port_of(self._id(number)))]
        if self.world.spread_ips:
            addresses = [(ip, DOCUMENTED_PORT) for ip in spread_ips(self._number, number)]
        for ip, port in addresses:
            instance = SimulatedInstance(self, self._id(number), ip, port, weight, zone=zone)
            try:
                instance.start()
            except CannotListenError:
                if (ip, port) == addresses[-1]:
                    raise
            else:
                return instance
        raise AssertionError("there is at least one address")
