"""Probes: connect the checkers of queues to the simulated queue service.

They wrap methods of the simulator's queues and the request handlers of its instances. The simulator's code is not
changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.virtual.network.virtual_time import EPOCH_S, NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.messages import ReceivedRequest
    from simulator.queues.frames import Consumer, Frame
    from simulator.queues.store import QueueStore
    from simulator.virtual.checkers.queues import QueueChecker


def install(
    service: Service,
    checker: QueueChecker,
    on_get: Callable[[str], None],
    on_watch: Callable[[str, float], None],
) -> None:
    """Observe a queue service from now on, including instances that are added later.

    Args:
        service: The service.
        checker: Called when frames are stored, removed, or given back to a queue.
        on_get: Called with the parameter `_timeout_` of each get that reaches an instance.
        on_watch: Called with the client's IP address for each watch that reaches an instance, and the time at which its
            request was sent, in virtual seconds.
    """

    def at_instance(instance: SimulatedInstance) -> None:
        handle = instance.server.handle

        def listen(request: ReceivedRequest) -> Any:
            if "_watch_=true" in request.query:
                near = request.connection.transport.socket.peer
                if near is not None:
                    on_watch(near.reactor.ip, near.said_ns / NS - EPOCH_S)
            elif "_timeout_=" in request.query:
                on_get(request.query.partition("_timeout_=")[2].partition("&")[0])
            return handle(request)

        instance.server.handle = listen

    for instance in service.instances.values():
        at_instance(instance)
    add = service.add_instance

    def add_and_listen(**given: Any) -> SimulatedInstance:
        instance = add(**given)
        at_instance(instance)
        return instance

    service.add_instance = add_and_listen  # type: ignore[method-assign]
    assert service.queues is not None  # noqa: S101  it is a queue service
    _at_puts(service.queues.input.store, checker, is_input=True)
    _at_puts(service.queues.sink.store, checker, is_input=False)
    _at_groups(checker.store, checker)


def _at_puts(store: QueueStore, checker: QueueChecker, *, is_input: bool) -> None:
    put = store.put

    def put_and_tell(data: bytes, tags: Mapping[str, str], priority: int = 0, path: str = "") -> Frame:
        frame = put(data, tags, priority, path)
        checker.stored(frame, is_input=is_input)
        return frame

    store.put = put_and_tell  # type: ignore[method-assign]


def _at_groups(store: QueueStore, checker: QueueChecker) -> None:
    """Report the frames of the watched queue that are given back or removed."""
    join, leave, reject, redeliver, remove = store.join, store.leave, store.reject, store.redeliver, store._remove  # noqa: SLF001

    def tell_join(group: str, user: str, *given: Any) -> Consumer:
        before = store.groups[group].consumers.get(user) if group in store.groups else None
        if before is not None:
            checker.given_back(group, before.pending)
        return join(group, user, *given)

    def tell_leave(group: str, consumer: Consumer, now: float) -> None:
        checker.given_back(group, consumer.pending)
        leave(group, consumer, now)

    def tell_reject(group: str, indexes: Iterable[int], code: str = "") -> None:
        found = list(indexes)
        checker.given_back(group, found, by_fault=True)
        reject(group, found, code)

    def tell_redeliver(group: str, index: int) -> bool:
        checker.given_back(group, [index], by_fault=True)
        return redeliver(group, index)

    def tell_remove(frame: Frame) -> None:
        checker.removed(frame)
        remove(frame)

    wrapped: dict[str, Any] = {
        "join": tell_join,
        "leave": tell_leave,
        "reject": tell_reject,
        "redeliver": tell_redeliver,
        "_remove": tell_remove,
    }
    for name, method in wrapped.items():
        setattr(store, name, method)
