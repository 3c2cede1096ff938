"""The demo: a real client against a simulator in one process, steady traffic, and a story of everything going wrong.

The one served room, beside the virtual world, that runs the real client. Every call carries an image of its own and
every answer is checked, so a lost call is one that failed or got a wrong answer. Exit code 0 only if there was none.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient, TFRequest
from simulator.faults import Fault
from simulator.fleet import ServiceSpec
from simulator.processors.mnist import PIXELS, score
from simulator.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.instance import SimulatedInstance

SERVICE = "mnist_saved_model_example"
CALLS_PER_S = 50
POLL_S = 1.0
LENGTH_S = 24.0
_CONFIG = ClientConfig(poll_interval_s=POLL_S, discovery_timeout_s=0.5, attempt_timeout_s=0.5)


@frozen
class Step:
    """One turn of the story: when, what it says, what it does."""

    at_s: float
    says: str
    act: Callable[[Simulator], Any]


def _service(world: Simulator) -> list[SimulatedInstance]:
    return list(world.services[SERVICE].instances.values())


def _lie(type_: str, **attributes: Any) -> Callable[[Simulator], Any]:
    return lambda world: world.faults.add(Fault(type_, attributes=attributes, name="lie"))


def _heal(world: Simulator) -> None:
    world.faults.clear()
    _service(world)[0].restart()


STORY = (
    Step(0.0, "three instances of weight 100; 50 calls a second", lambda _: None),
    Step(3.0, "instance 0 crashes: its connections are reset and its port refuses", lambda w: _service(w)[0].crash()),
    Step(6.0, "discovery answers 500", _lie("http_status", code=500)),
    Step(8.0, "discovery answers 200 with an empty list", _lie("empty_list")),
    Step(10.0, "discovery answers HTML", _lie("garbage")),
    Step(11.0, "discovery is itself again; instance 0 restarts", _heal),
    Step(12.5, "instance 1 hangs: it accepts and says nothing", lambda w: _service(w)[1].hang()),
    Step(16.0, "instance 1 goes on", lambda w: _service(w)[1].resume()),
    Step(17.0, "scale up: a fourth instance", lambda w: w.services[SERVICE].add_instance()),
    Step(19.5, "instance 2 gets weight 300", lambda w: setattr(_service(w)[2], "weight", 300)),
    Step(22.0, "all is well", lambda _: None),
)


@define
class Account:
    """What became of the calls."""

    calls: int = 0
    answered: int = 0
    lost: list[str] = field(factory=list)


class Traffic:
    """Calls at a steady rate, each with an image of its own, each answer checked."""

    def __init__(self, reactor: Any, client: PredictClient) -> None:
        self.account = Account()
        self._client = client
        self._loop = LoopingCall.withCount(self._send)
        self._loop.clock = reactor
        self._open = 0
        self._idle: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to call."""
        self._loop.start(1 / CALLS_PER_S)

    def stop(self) -> Deferred[None]:
        """Begin no more calls; fires when the last has ended."""
        self._loop.stop()
        idle: Deferred[None] = Deferred()
        if self._open:
            self._idle = idle
        else:
            idle.callback(None)
        return idle

    def _send(self, missed: int) -> None:
        for _ in range(missed):
            Deferred.fromCoroutine(self._call(self.account.calls))
            self.account.calls += 1

    async def _call(self, number: int) -> None:
        image = [float((number * 7 + pixel) % 16) for pixel in range(PIXELS)]
        request = TFRequest("predict_images")
        request.add_feed("images", [1, PIXELS], TFRequest.DT_FLOAT, image)
        self._open += 1
        try:
            response = await self._client.predict(request)
            if list(response.get_values("scores")) == _rounded(score(image)):
                self.account.answered += 1
            else:
                self.account.lost.append(f"call {number}: wrong scores")
        except Exception as error:  # noqa: BLE001  whatever it is, the call is lost
            self.account.lost.append(f"call {number}: {type(error).__name__}: {error}")
        self._open -= 1
        if self._idle is not None and not self._open:
            self._idle.callback(None)


class Screen:
    """The table: redrawn in place on a terminal, one line a step elsewhere."""

    def __init__(self, world: Simulator, client: PredictClient, traffic: Traffic) -> None:
        self._world, self._client, self._traffic = world, client, traffic
        self._live = sys.stdout.isatty()
        self._drawn = 0
        self._step = STORY[0]

    def turn(self, step: Step) -> None:
        """The story goes on."""
        self._step = step
        if not self._live:
            print(f"\n{step.at_s:5.1f} s  {step.says}", flush=True)

    def draw(self, *, final: bool = False) -> None:
        """Show how things stand."""
        if not self._live and not final:
            return
        lines = [f"{self._step.at_s:5.1f} s  {self._step.says}", "", *self.table(), ""]
        if self._live:
            up = f"\x1b[{self._drawn}F" if self._drawn else ""
            print(up + "".join(f"\x1b[2K{line}\n" for line in lines), end="", flush=True)
            self._drawn = len(lines)
        else:
            print("\n" + "\n".join(self.table()), flush=True)

    def table(self) -> list[str]:
        """One row an instance, and one for the calls."""
        counters, known = self._client.counters, {i.address: i for i in self._client.instances}
        ejected = {i.address for i in self._client.ejected}
        rows = [f"{'instance':<30}{'requests':>9}{'failures':>9}{'conns':>7}{'weight':>8}  state"]
        for instance in _service(self._world):
            address = f"{instance.ip}:{instance.port}"
            seen = known.get(address)
            note = "" if seen else ", not in the list yet"
            note += ", left out by the client" if address in ejected else ""
            rows.append(
                f"{instance.id:<30}{counters.attempts[address]:>9}{counters.failures_at[address]:>9}"
                f"{self._client.connections(seen) if seen else 0:>7}{seen.weight if seen else 0:>8g}"
                f"  {instance.state}{note}"
            )
        account = self._traffic.account
        age_s = self._client.discovery.age_s or 0.0
        rows.append(
            f"calls {account.calls}, answered {account.answered}, lost {len(account.lost)}, "
            f"retries {counters.retries.total()}; the list is {age_s:.1f} s old"
        )
        return rows


def run(*, seed: int, as_json: bool) -> int:
    """Play the story; the exit code."""
    from twisted.internet import reactor as global_reactor  # noqa: PLC0415, TID251  an entry module

    reactor: Any = global_reactor
    codes: list[int] = []

    def ended(result: Any) -> None:
        if not isinstance(result, int):
            result.printTraceback()
        codes.append(result if isinstance(result, int) else 1)
        reactor.stop()

    def begin() -> None:
        Deferred.fromCoroutine(_play(reactor, seed=seed, as_json=as_json)).addBoth(ended)

    reactor.callWhenRunning(begin)
    reactor.run()
    return codes[0] if codes else 1


async def _play(reactor: Any, *, seed: int, as_json: bool) -> int:
    world = Simulator(reactor, seed=seed, services=[ServiceSpec(SERVICE, token="demo-token")])  # noqa: S106
    await world.start()
    client = PredictClient(
        world.url,
        SERVICE,
        token="demo-token",  # noqa: S106
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=_CONFIG.but(seed=seed),
    )
    await client.init()
    traffic = Traffic(reactor, client)
    screen = Screen(world, client, traffic)
    print(
        f"A client polls {world.url} every {POLL_S:g} s and calls {SERVICE} directly, for {LENGTH_S:g} s.\n", flush=True
    )
    await _tell(reactor, world, traffic, screen)
    await traffic.stop()
    screen.draw(final=True)
    summary = _summary(world, client, traffic.account)
    await client.close()
    await world.stop()
    _report(summary, traffic.account, as_json=as_json)
    return 1 if summary["lost"] else 0


async def _tell(reactor: Any, world: Simulator, traffic: Traffic, screen: Screen) -> None:
    drawing = LoopingCall(screen.draw)
    drawing.clock = reactor
    began = reactor.seconds()
    traffic.start()
    drawing.start(0.2)
    for step in STORY:
        await deferLater(reactor, max(0.0, began + step.at_s - reactor.seconds()))
        screen.draw(final=step is not STORY[0])
        screen.turn(step)
        step.act(world)
    await deferLater(reactor, max(0.0, began + LENGTH_S - reactor.seconds()))
    drawing.stop()


def _summary(world: Simulator, client: PredictClient, account: Account) -> dict[str, Any]:
    return {
        "calls": account.calls,
        "lost": account.calls - account.answered,
        "retries": client.counters.retries.total(),
        "discovery_requests": world.control_plane.requests.total(),
        "instance_requests": world.journal.total,
        "discovery_refused": dict(client.discovery.rejections),
    }


def _report(summary: dict[str, Any], account: Account, *, as_json: bool) -> None:
    refused = ", ".join(f"{reason} {count}" for reason, count in summary["discovery_refused"].items()) or "none"
    print(
        f"\n{summary['calls']} calls, {summary['lost']} lost, {summary['retries']} retries.\n"
        f"Discovery replies refused: {refused}.\n"
        f"{summary['discovery_requests']} requests to discovery, {summary['instance_requests']} to instances."
    )
    for line in account.lost[:10]:
        print(f"LOST {line}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary))


def _rounded(scores: list[float]) -> list[float]:
    """As float32, which is what the service answers."""
    return list(struct.unpack(f"<{len(scores)}f", struct.pack(f"<{len(scores)}f", *scores)))
