"""A simulated instance: its address, state, workers and connections. `request_handler` handles its requests.

Discovery replies do not depend on the state, but on whether the instance is registered.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredList, succeed
from twisted.internet.error import CannotListenError

from simulator.fault_registry import ACCEPT, HEAD
from simulator.http1 import Server
from simulator.journal import Row
from simulator.ports import Address
from simulator.queues.worker import QueueWorker
from simulator.request_handler import RequestHandler
from simulator.timers import Timers
from simulator.workers import RateLimit, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from simulator.fleet import Service
    from simulator.http1 import Answer, ReceivedRequest, ServerConnection
    from simulator.queues.watch import Watch
    from simulator.stream_records import RunningStream


class State(StrEnum):
    """The state of an instance."""

    RUNNING = "running"
    HUNG = "hung"
    """Accepts connections and reads requests, but sends no response until it runs again."""
    CRASHED = "crashed"
    """All connections were reset, and the port refuses new ones."""
    DRAINING = "draining"
    """Terminating: refuses new connections, has closed idle ones, and closes others after their response."""


class SimulatedInstance:
    """An instance of a service.

    Args:
        service: The service.
        instance_id: Id, such as `mnist-0`.
        ip: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        weight: Weight in discovery replies.
        zone: Availability zone; empty for none.

    Attributes:
        life: Number of crashes and stops. Work that began when the number was lower is obsolete.
        memory: State that the processor stores between requests; empty after a crash or a reset.
        streams: Running streamed responses, in the order in which they began.
        watches: Open watches of a queue service. They do not end by themselves, so a draining instance ends them.
    """

    def __init__(
        self, service: Service, instance_id: str, ip: str, port: int = 0, weight: float = 100, *, zone: str = ""
    ) -> None:
        reactor = service.world.reactor
        self.id = instance_id
        self.service = service
        self.weight = weight
        self.zone = zone
        self.registered = True
        self.state = State.RUNNING
        self.life = 0
        self.rng = service.world.stream(f"instance {instance_id}")
        self.address = Address(reactor, ip, port)
        self.server = Server(self.handle, reactor)
        self.server.on_open = self._opened
        self.server.on_head = self._head_came
        self._timers = Timers(reactor)
        self._held: list[Callable[[], None]] = []
        self.memory: dict[str, Any] = {}
        self.streams: dict[RunningStream, None] = {}
        self.watches: dict[Watch, None] = {}
        self._queue_worker: QueueWorker | None = None
        if service.queues is not None and service.spec.queue_workers:
            self._queue_worker = QueueWorker(self, service.queues)
        self._staff()

    def __repr__(self) -> str:
        return f"<instance {self.id} {self.ip}:{self.port} {self.state} weight={self.weight:g}>"

    @property
    def ip(self) -> str:
        """The address on which the instance listens."""
        return self.address.ip

    @property
    def port(self) -> int:
        """The port on which the instance listens; a crash or a reset does not change the port."""
        return self.address.port

    @property
    def is_draining(self) -> bool:
        """Whether the state is `DRAINING`."""
        return self.state is State.DRAINING

    @property
    def is_hung(self) -> bool:
        """Whether the state is `HUNG`."""
        return self.state is State.HUNG

    def start(self) -> None:
        """Listen on the address, and start the queue worker, if there is one."""
        self.address.listen(self.server)
        self._run_queue_worker()

    def stop(self) -> Deferred[Any]:
        """Stop permanently; the Deferred fires when the port and all connections are closed."""
        if self._queue_worker is not None:
            self._queue_worker.stop()
        self._begin_anew()
        gone = DeferredList([self.address.give_up(), self.server.when_empty()])
        self.server.reset_connections()
        return gone

    # -- changes of state

    def crash(self) -> Deferred[None]:
        """Reset all connections and refuse new ones; the Deferred fires when the port refuses."""
        return self.set_state(State.CRASHED)

    def restart(self) -> Deferred[None]:
        """Run again on the same address, after a crash."""
        return self.set_state(State.RUNNING)

    def hang(self) -> Deferred[None]:
        """Accept connections and read requests, but send no response."""
        return self.set_state(State.HUNG)

    def resume(self) -> Deferred[None]:
        """Run again, and answer the requests that were read in the meantime."""
        return self.set_state(State.RUNNING)

    def drain(self) -> Deferred[None]:
        """Finish accepted requests, and refuse new connections; the Deferred fires when the port refuses."""
        return self.set_state(State.DRAINING)

    def set_state(self, state: State) -> Deferred[None]:
        """Change the state; the Deferred fires when the port listens or refuses as the state requires.

        Raises:
            CannotListenError: Another program has bound the port; then the state is as before.
        """
        before, self.state = self.state, state
        if state is State.CRASHED:
            self._begin_anew()
            self.server.reset_connections()
        elif state is State.DRAINING:
            self.server.close_idle()
            for watch in list(self.watches):
                watch.leave()
        try:
            changed = self.apply_faults()
        except CannotListenError:
            self.state = before
            raise
        if state is not State.HUNG:
            self._go_on()
        self._run_queue_worker()
        return changed

    def reset(self) -> Deferred[None]:
        """Run with idle workers and a full token bucket; work that has begun continues without occupying a worker."""
        self._staff()
        return self.set_state(State.RUNNING)

    def apply_faults(self) -> Deferred[None]:
        """Listen or refuse, according to state and faults; the Deferred fires when this has taken effect."""
        faulty = self.service.world.faults.refuses(self.service.name, self.id, self.zone)
        if faulty or self.state in (State.CRASHED, State.DRAINING):
            return self.address.refuse()
        self.address.listen(self.server)
        return succeed(None)

    # -- requests

    def handle(self, request: ReceivedRequest) -> Answer | Deferred[Answer]:
        """Answer a request, according to the state."""
        return RequestHandler(self, request).answer()

    def when_running(self, act: Callable[[], None]) -> None:
        """Call `act` now or, if the instance hangs, when it runs again; do not call `act` if it crashes before that."""
        if self.state is State.HUNG:
            self._held.append(act)
        else:
            act()

    def later(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        """Call `act` after `seconds`, unless the instance crashes or stops before that."""
        self._timers.later(seconds, act, *arguments)

    def _go_on(self) -> None:
        held, self._held = self._held, []
        for act in held:
            act()

    def _run_queue_worker(self) -> None:
        if self._queue_worker is None:
            return
        if self.state is State.CRASHED:
            self._queue_worker.stop()
        else:
            self._queue_worker.start()

    def _begin_anew(self) -> None:
        """Discard all work that has begun."""
        self.life += 1
        self._held.clear()
        self._timers.cancel()
        # The caller resets the connections afterwards, which ends their streams. Each ended stream releases its worker,
        # and the released worker must not begin a queued job.
        self.workers.discard_waiting()
        self._staff()

    def _staff(self) -> None:
        spec = self.service.spec
        self.memory.clear()
        self.workers = Workers(spec.workers, spec.queue)
        self.rate_limit = RateLimit(spec.rate_limit, self.service.world.reactor.seconds) if spec.rate_limit else None

    def _opened(self, connection: ServerConnection) -> None:
        if not self.service.world.faults.is_quiet:
            self._activate_on_connection(connection, ACCEPT)

    def _head_came(self, connection: ServerConnection, method: str, target: str) -> None:
        if not self.service.world.faults.is_quiet:
            self._activate_on_connection(connection, HEAD, method, target)

    def _activate_on_connection(
        self, connection: ServerConnection, moment: str, method: str = "", target: str = ""
    ) -> None:
        """Apply faults before the request is complete: reset the connection, and write a row to the journal."""
        faults = self.service.world.faults.on_instance(self.service.name, self.id, self.zone, moment=moment)
        for fault in faults[:1]:
            self.service.world.journal.write(
                Row(
                    at=self.service.world.reactor.seconds(),
                    service=self.service.name,
                    instance=self.id,
                    method=method,
                    path=target,
                    status=0,
                    fault=fault.name,
                    bytes_in=0,
                    bytes_out=0,
                    elapsed_s=0.0,
                )
            )
            after_s = fault.get("timeout") / 1000 if fault.type == "reset_peer" else 0.0
            connection.reset_after(after_s)
