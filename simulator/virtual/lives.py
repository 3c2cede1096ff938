"""A program that restarts again and again: clients that open, call and close while faults are active.

The program has its own host. In some lives its disk copy is damaged, missing, of another service or unwritable, and in
some lives discovery responds with errors only. Each life is checked: its first list is correct, every call ends once,
and no connection and no timer is left after the close.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from weakref import ref

from twisted.internet.defer import Deferred

from simulator.messages import Response
from simulator.virtual.reporting.formatting import few, spelled

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from simulator.messages import Answer
    from simulator.virtual.checkers.base import Report
    from simulator.virtual.network.network import Network
    from simulator.virtual.network.sockets import Address

    View = dict[Address, float]
    Make = Callable[[str, dict[str, Any]], Any]

_UNAVAILABLE = 503
_INIT_S = 2.0
_CLOSES_WITHIN_S = 20.0
_SETTLED_S = 0.1
_DISKS = ("good", "good", "good", "torn", "foreign", "garbage", "missing", "unwritable")
_GARBAGE = (b"", b"\x00" * 99, b"[" * 100_000, b'{"instances": ' + b"9" * 6000 + b"}", b"null", b"\xff\xfe")


class Lives:
    """The consecutive lives of one program.

    Args:
        network: The network.
        reactor: Reactor of the program's host.
        rng: Source of random draws.
        make: Creates a client, which is not opened, from the folder of its disk copy and its settings.
        service: Name of the service that it calls.
        child_of: Name of the service for which every other life has a child client; empty for none.
        pause_s: Mean time between two lives, in seconds.
        is_disturbed: Returns whether a fault may have affected the delivery of discovery replies since a time in
            virtual seconds.
        report: Called with the name of a checker and the description of a violation.

    Attributes:
        service: Name of the service that it calls.
        begun: Number of lives that have begun.
    """

    def __init__(  # noqa: PLR0913  all but the first four are keywords
        self,
        network: Network,
        reactor: Any,
        rng: Random,
        make: Make,
        *,
        service: str,
        child_of: str,
        pause_s: float,
        is_disturbed: Callable[[float], bool],
        report: Report,
    ) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self._reactor = reactor
        self._rng = rng
        self._make = make
        self.service = service
        self._child_of = child_of
        self._pause_s = pause_s
        self._is_disturbed = is_disturbed
        self._report = report
        self._told: tuple[float, View] | None = None
        self._perhaps: list[View] = []
        self._heard: list[View] = []
        self._saved: list[View] = []
        self._is_alone = self._is_over = False
        self._has_collected = False
        self._ended: dict[str, int] = {}
        self._running: Deferred[None] | None = None
        self._disk = TemporaryDirectory(prefix="simulated-disk-")
        self.begun = 0

    @property
    def ip(self) -> str:
        """The IP address of the program's host."""
        return str(self._reactor.ip)

    def start(self) -> None:
        """Start the first life."""
        self._running = Deferred.fromCoroutine(self._live())

    async def stop(self) -> None:
        """Finish the current life, and start no more."""
        self._is_over = True
        if self._running is not None:
            await self._running

    def clean_up(self) -> None:
        """Remove the disk copy; called after failed runs too."""
        self._disk.cleanup()

    # -- events

    def reply(self, answer: Answer) -> Answer:
        """Return the discovery reply to send to the program: 503 in lives without discovery, otherwise `answer`."""
        return Response(_UNAVAILABLE, b"") if self._is_alone else answer

    def told(self, view: View | None, *, is_sure: bool) -> None:
        """Record the list of a discovery reply that was sent to the program.

        Args:
            view: The list; `None` for a reply that must be rejected.
            is_sure: Whether the client must apply the list; false for malformed HTTP, which it may reject.
        """
        if view is None:
            return
        self._heard.append(view)
        if is_sure:
            self._told = (self._scheduler.elapsed(), view)
        else:
            self._perhaps.append(view)

    # -- the lives

    async def _live(self) -> None:
        while not self._is_over:
            await self._sleep(self._pause_s * (0.5 + self._rng.random()))
            self.begun += 1
            await self._live_once()

    async def _live_once(self) -> None:
        directory, disk = self._prepare_disk()
        self._is_alone = self._rng.random() < 0.4  # noqa: PLR2004  two lives of five
        self._told = None
        self._perhaps.clear()
        self._heard.clear()
        settings = {
            "init_timeout_s": _INIT_S,
            "drain_timeout_s": self._rng.choice((0.0, 0.0, 0.2)),
            "poll_interval_s": 1.0,
            "timeout_s": 1.0,
        }
        client = self._make(str(directory), settings)
        began = self._scheduler.elapsed()
        try:
            await client.init()
        except Exception as error:  # noqa: BLE001  the check reports unexpected ones
            self._check_failed(disk, error, began)
        else:
            self._check_first_list(client, disk, began)
            await self._call(client)
        self._is_alone = False
        has_new_list = bool(client.instances) and not client.discovery.is_stale
        await self._close(client)
        if has_new_list and disk != "unwritable":
            # The client may have saved any list that it received, so the checks accept all of them.
            self._saved = [*self._heard]

    async def _call(self, client: Any) -> None:
        child = client.child(self._child_of, token="") if self._child_of and self.begun % 2 else None
        if child is not None:
            child.init().addErrback(lambda _: None)
        for number in range(self._rng.randint(1, 8)):
            name = f"life-{self.begun}-{number}"
            self._ended[name] = 0
            calling = client.predict(f"{name}|") if child is None or number % 2 else child.predict(f"{name}|")
            calling.addBoth(self._one_ended, name)
        await self._sleep(self._rng.choice((0.0, 0.0001, 0.0003, 0.02, 1.5)))
        if child is not None:
            await child.close()
            forgotten = ref(child)
            del child, calling
            # The stack frame that resumed this coroutine still refers to the child until the next event.
            await self._sleep(0.0)
            self._check_forgotten(forgotten)

    def _one_ended(self, _: object, name: str) -> None:
        self._ended[name] += 1

    async def _close(self, client: Any) -> None:
        began_s = self._scheduler.elapsed()
        await client.close()
        took_s = self._scheduler.elapsed() - began_s
        left = [socket for socket in self._network.transports if socket.reactor is self._reactor]
        if left:
            self._report("closed-is-gone", f"life {self.begun} has closed, and left {left}")
        # Twisted does not cancel the first step of a connection attempt that was cancelled in the same turn. The timer
        # of this step has a delay of 0, and the step does nothing.
        timers = [timer for timer in self._reactor.getDelayedCalls() if timer.getTime() > self._reactor.seconds()]
        if timers:
            self._report("closed-is-gone", f"life {self.begun} has closed, and left {timers}")
        if took_s > _CLOSES_WITHIN_S:
            self._report("closed-is-gone", f"life {self.begun} took {took_s:.1f} s to close")
        for name, times in self._ended.items():
            if times != 1:
                self._report("call-ends-once", f"call {name} has ended {times} times, and its client has closed")
        self._ended.clear()

    def _check_forgotten(self, child: ref[Any]) -> None:
        """Check that a closed child is freed; only once in a run, because the check needs a garbage collection."""
        if not self._has_collected:
            self._has_collected = True
            gc.collect()
            if child() is not None:
                self._report("kept-after-close", f"life {self.begun} has closed a child, and something still holds it")

    # -- the first list

    def _prepare_disk(self) -> tuple[Path, str]:
        """Damage the disk copy, as may happen between two lives; return its folder, and one of `_DISKS`."""
        directory, disk = Path(self._disk.name) / "copies", self._rng.choice(_DISKS)
        for file in sorted(directory.glob("*.json")):
            if disk == "missing":
                file.unlink()
            elif disk == "torn":
                whole = file.read_bytes()
                file.write_bytes(whole[: self._rng.randrange(len(whole))] if whole else b"")
            elif disk == "garbage":
                file.write_bytes(self._rng.choice(_GARBAGE))
            elif disk == "foreign":
                file.write_text(_foreign(file.read_bytes()), "utf-8")
        if disk in ("missing", "torn", "foreign", "garbage"):
            self._saved.clear()
        if disk == "unwritable":
            # Permissions do not apply to root, but even root cannot create a directory inside a file.
            blocked = Path(self._disk.name) / "blocked"
            blocked.write_bytes(b"")
            return blocked / "copies", disk
        return directory, disk

    def _check_first_list(self, client: Any, disk: str, began_s: float) -> None:
        view = {instance.key: instance.weight for instance in client.instances}
        told, now_s = self._told, self._scheduler.elapsed()
        if abs(now_s - began_s - _INIT_S) < _SETTLED_S and told is not None and told[0] > now_s - _SETTLED_S:
            # The reply arrived at about the init timeout, so the first list may be from the reply or the disk copy.
            return
        if view in self._perhaps:
            return
        if told is not None:
            if (view != told[1] or client.discovery.is_stale) and not self._is_disturbed(began_s):
                says = f"begins with {_names(view)}, and discovery has told it {_names(told[1])}"
                self._report("disk-copy", f"life {self.begun} {says}")
        elif not self._saved or disk == "unwritable":
            self._report(
                "disk-copy", f"life {self.begun} begins with {_names(view)}, which nobody has told it ({disk})"
            )
        elif view not in self._saved or not client.discovery.is_stale:
            says = f"begins with {_names(view)}, and the last list that was good is {_names(self._saved[-1])}"
            self._report("disk-copy", f"life {self.begun} {says}")

    def _check_failed(self, disk: str, error: Exception, began_s: float) -> None:
        name, told = type(error).__name__, self._told
        if name != "DiscoveryError":
            self._report("disk-copy", f"life {self.begun} cannot begin: {name}: {error} ({disk})")
        elif told is not None and told[0] < self._scheduler.elapsed() - _SETTLED_S and not self._is_disturbed(began_s):
            self._report(
                "disk-copy", f"life {self.begun} cannot begin, and discovery has told it {_names(told[1])}: {error}"
            )
        elif self._saved and not self._heard and disk == "good":
            self._report("disk-copy", f"life {self.begun} cannot begin, and the last good list is on its disk: {error}")

    def _sleep(self, seconds: float) -> Deferred[None]:
        slept: Deferred[None] = Deferred()
        self._scheduler.call_later(seconds, slept.callback, None)
        return slept


def _foreign(copy: bytes) -> str:
    """Change a copy into the copy of another service."""
    try:
        return json.dumps({**json.loads(copy), "service": "somebody-else"})
    except (ValueError, RecursionError, TypeError):
        return "{}"


def _names(view: View) -> str:
    return few(f"{spelled(address)} (weight {weight:g})" for address, weight in view.items()) or "no instance"
