"""The oracle: passes everything that happens in a run to the checkers, and collects their reports.

The names of the checkers and their invariants are in `CHECKERS`; most checkers have a module in `checkers`. A violation
stops the run.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from functools import partial
from math import gcd
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.logger import LogLevel, formatEvent, globalLogBeginner, globalLogPublisher

from simulator.virtual.checkers.balancing import BalancingChecker
from simulator.virtual.checkers.calls import CallChecker
from simulator.virtual.checkers.discovery import DiscoveryChecker
from simulator.virtual.checkers.ejections import EjectionChecker
from simulator.virtual.checkers.hedging import HedgingChecker
from simulator.virtual.checkers.idle_connections import IdleChecker
from simulator.virtual.checkers.keys import KeyChecker
from simulator.virtual.checkers.minority import MinorityChecker
from simulator.virtual.checkers.retries import RetryChecker
from simulator.virtual.checkers.streams import StreamChecker
from simulator.virtual.checkers.telemetry import TelemetryChecker
from simulator.virtual.checkers.work_per_turn import Meter
from simulator.virtual.faults.attribution import FaultAttribution
from simulator.virtual.network.fault_points import is_injected
from simulator.virtual.network.virtual_time import EPOCH_S, NS
from simulator.virtual.reporting.client_log import ClientLog
from simulator.virtual.reporting.formatting import spelled

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.gateway_calls import GatewayCalls
    from simulator.virtual.lives import Lives
    from simulator.virtual.network.network import Network
    from simulator.virtual.network.reactor import VirtualReactor
    from simulator.virtual.network.sockets import Address, VirtualSocket

CHECKERS = {
    "call-ends-once": "every call ends exactly once, by its deadline",
    "response-matches-request": "a response belongs to its request",
    "attempts-within-limit": "attempts within the limit, never twice on an instance while another is eligible",
    "connection-use": "one request at a time on a connection, pools within their limit, no write on a lost transport",
    "last-good-list": "the list is the last good reply, calls go to its instances only, polls keep their schedule",
    "failure-explained": "a call fails only if a fault explains it",
    "exact-shares": "weighted shares are exact in quiet times",
    "nothing-left": "nothing is left at the end: no timer, no connection, no logged error",
    "recovers-after-heal": "after the heal the view converges and every call succeeds",
    "one-probe": "an ejected instance gets one call, the probe, until it ends, and no other while one is eligible",
    "sent-once": "a call that is not idempotent reaches an instance at most once",
    "hedge-rules": "a hedge uses another instance, counts as an attempt and for the budget, and one response is used",
    "subset-bounds": "a subset stays within its size, and calls in flight within their bound while another has room",
    "key-affinity": "calls of one key go to one instance, for all clients with the same eligible instances",
    "balancer-notified": "a program's own balancer is notified of the start and the end of every attempt",
    "telemetry-consistent": "the counters of a client agree with its events",
    "late-hedge": "a call whose instance is silent is hedged before its time is over",
    "no-call-lost": "no call is lost while one instance answers, and dead instances hardly delay calls",
    "application": "the application's own checkers",
    "cancelled-is-over": "a cancelled call is not sent to an instance",
    "next-good-list-applied": "after a list that could not be applied, the next good one is",
    "retried-outcomes": "only outcomes in `retry_on`, and a 429 with Retry-After, are retried",
    "retry-pause": "the first failover, and one after an unsent attempt, is immediate; others keep the backoff",
    "retry-budget": "retries stay within a share of the last 10 seconds' calls and the floor, and one for each probe",
    "attempt-timeout": "no attempt takes longer than attempt_timeout_s",
    "ejection-reason": "an instance is ejected for a failed connect, silence, or eject_after consecutive failures",
    "ejected-at-once": "an instance with a reason is ejected; for an uncertain reason, within the bound on ejections",
    "ejection-forgotten": "an instance that joins the list is not ejected for earlier failures",
    "closed-is-gone": "a closed client has no socket, no timer and no call",
    "kept-after-close": "a closed client without references is freed",
    "disk-copy": "a start uses the disk copy if discovery has not answered, and only then",
    "date-is-wall-time": "a signed request has the time of the wall clock",
    "local-not-blamed": "no instance is ejected for a lack of local resources",
    "idle-timeout": "a connection without a request is closed after idle_timeout_s",
    "idle-bytes": "a connection on which bytes came without a request is closed",
    "work-per-turn": "a turn of the reactor does one bounded step of a long list",
    "gateway-call": "a call through the gateway ends once, in time, with its own response, and fails only by faults",
    "gateway-stream": "a stream through the gateway ends once, in time, with one body's bytes; only faults break it",
    "gateway-retry": "502 and 504 of a gateway are retried within attempts, budget and time; final outcomes are not",
    "name-asked-again": "the endpoint's name is looked up for each poll, also after the name server was silent",
    "poll-jitter": "every poll comes after its interval, give or take the jitter, also after an hour",
    "token-hidden": "no log, error or repr holds the token",
    "stream-bytes": "a stream's bytes are a prefix of what one instance sent for its request; all, if it ended well",
    "stream-not-repeated": "nothing is sent for a stream whose head was handed over",
    "hedge-beside-speaker": "no instance is asked beside one that sends bytes, until it pauses for half of the call",
    "stream-buffer-bound": "the unread bytes of a stream stay within stream_buffer_bytes and one read",
    "stream-ends-once": "a stream ends once, with all of its bytes or with a StreamBroken",
    "stream-time-limits": "a stream ends by its idle and total time limits, and not before",
    "stream-break-explained": "a stream breaks only if a fault explains it",
    "stream-outcome": "a stream that broke is recorded against its instance",
    "stream-load": "a stream is in flight until its last byte",
    "stream-closed-is-gone": "a stream that was closed before its end leaves no connection and no timer",
    "stream-drain": "a client that closes waits drain_timeout_s for its streams, and then breaks them",
    "queue-operation-ends": "an operation of a queue ends once, by its deadline, and fails only if a fault explains it",
    "queue-put-once": "a put that is not idempotent is in the queue once, and its answer is that frame's",
    "queue-get-once": "a get that deletes what it gets reaches an instance at most once",
    "queue-frame-content": "a frame has the data and the tags that were put",
    "queue-nothing-lost": "a frame whose put was answered comes to each group, unless it is deleted",
    "queue-committed-is-over": "a watch returns no frame again that its reader has, or has committed",
    "queue-commit-answered": "a commit that succeeds is in the queue; another one fails",
    "queue-window": "a reader has at most window frames in hand",
    "queue-order": "a watch returns frames by their indexes, but for those that were given back",
    "queue-end": "a watch ends at the end of the stream, and not before",
    "queue-reconnect-pause": "a lost watch is opened again after full jitter, of 0.1 s doubled up to 5 s",
    "queue-reconnect-choice": "a lost watch goes to another instance that is well, and to an ejected one only without",
    "queue-closed-is-gone": "a closed client of a queue leaves no connection, no timer and no operation",
}
_MOST_VIOLATIONS = 10
_NO_WHOLE_CYCLES = 2
_SELDOM = 4
"""Period of some checks, in seconds. Their violations persist, so that checks at longer intervals find them too."""
_DATE_SLACK_S = 2.0
"""Tolerance in seconds for a Date, whose resolution is one second."""


@frozen
class Violation:
    """A violation of an invariant.

    Attributes:
        checker: Name of the checker, a key of `CHECKERS`.
        at_s: Time at which it was found, in virtual seconds.
        says: Description, one line.
    """

    checker: str
    at_s: float
    says: str

    def __str__(self) -> str:
        return f"({self.checker}) at {self.at_s:.3f} s: {self.says}"


class Oracle:
    """The oracle of one run.

    Args:
        network: The network.

    Attributes:
        clients_under_test: The clients, by their number.
        secret: The clients' token, which must not appear in any text; empty for none.
        gateway: The program that calls through the gateway; `None` for none.
        lives: The program that is restarted again and again; `None` for none.
        cancel_all: Cancels a client's calls in flight, by the client's number.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self.violations: list[Violation] = []
        self.attribution = FaultAttribution()
        elapsed = self._scheduler.elapsed
        self.retries = RetryChecker(elapsed, self.attribution, self.report)
        self.calls = CallChecker(elapsed, self.attribution, self.report, self.retries)
        self.discovery = DiscoveryChecker(elapsed, self.attribution, self.report)
        self.client_log = ClientLog(self._scheduler)
        self.ejections = EjectionChecker(elapsed, self.attribution, self.report)
        self.keys = KeyChecker(elapsed, self.attribution, self.report)
        self.balancing = BalancingChecker(
            elapsed, self.attribution, self.report, self._probed, self.ejections, self.keys
        )
        self.streams = StreamChecker(
            elapsed,
            self.attribution,
            self.report,
            self.balancing.in_flight,
            self.balancing.has_recorded,
            self.ejections.head_came,
        )
        self.hedging = HedgingChecker(elapsed, self.attribution, self.report, self.retries, self.streams)
        self.idle = IdleChecker(network, self.attribution, self.report, self.streams)
        self.telemetry = TelemetryChecker(self.report)
        self.minority = MinorityChecker(elapsed, self.report)
        self.clients_under_test: dict[int, ClientUnderTest] = {}
        self._hosts: dict[str, list[ClientUnderTest]] = {}
        self.secret = ""
        self._ticks = 0
        self.gateway: GatewayCalls | None = None
        self.lives: Lives | None = None
        self.cancel_all: dict[int, Callable[[], None]] = {}
        self._answered_ns: dict[Any, int] = {}
        self._counting: dict[int, dict[Address, int]] | None = None
        self._hedges: dict[int, int] = {}
        self._before: dict[int, tuple[int, Counter[str]]] = {}
        self._logged: list[dict[str, Any]] = []
        self._seen_errors = 0
        self._ear: Any = self._hear
        self._printer: Any = None

    # -- events

    def report(self, checker: str, says: str) -> None:
        """Record and log a violation; violations after the first ten of a run are ignored."""
        if len(self.violations) < _MOST_VIOLATIONS:
            violation = Violation(checker, round(self._scheduler.elapsed(), 6), says)
            self.violations.append(violation)
            self._scheduler.log(f"VIOLATION {violation}")

    def add(self, sut: ClientUnderTest) -> None:
        """Add a client to be checked."""
        self.clients_under_test[sut.number] = sut
        self._hosts.setdefault(sut.reactor.ip, []).append(sut)

    def _probed(self, sut: ClientUnderTest, address: Address) -> None:
        self.client_log.probed(sut, address)
        self.retries.probed(sut)

    def asking(self, host: str, target: str) -> ClientUnderTest | None:
        """Return the client on a host that polls this path; `None` if there is none."""
        path = target.partition("?")[0]
        return next((one for one in self._hosts.get(host, ()) if path.endswith(f"/{one.service}")), None)

    def listen(self, sut: ClientUnderTest) -> None:
        """Install a listener for the events of a client."""
        sut.is_heard = True
        telemetry, client_log = self.telemetry.open(sut), self.client_log.ears(sut)
        minority = self.minority
        minority.open(sut)
        ears: dict[str, tuple[Callable[[Any], None], ...]] = {
            "AttemptEnded": (telemetry.attempt_ended, self.hedging.attempt_ended, partial(minority.attempt_ended, sut)),
            "CallEnded": (
                client_log["CallEnded"],
                telemetry.call_ended,
                partial(self.hedging.call_ended, sut),
                partial(minority.call_ended, sut),
            ),
            "Ejected": (
                client_log["Ejected"],
                telemetry.ejected,
                partial(self.balancing.ejected, sut),
                partial(minority.ejected, sut),
                lambda _: self.retries.ejected(sut),
            ),
            "EjectionOverflow": (telemetry.not_ejected,),
            "BalancerFallback": (telemetry.balancer_fell_back,),
            "StreamEnded": (telemetry.stream_ended,),
            "Returned": (client_log["Returned"], partial(self.balancing.returned, sut)),
            "ListChanged": (client_log["ListChanged"], partial(self.balancing.list_changed, sut)),
            "PollRefused": (client_log["PollRefused"],),
        }

        def hear(event: Any) -> None:
            for ear in ears.get(type(event).__name__, ()):
                ear(event)

        sut.client.listen(hear)

    def listen_badly(self, sut: ClientUnderTest) -> Callable[[], None]:
        """Install a listener that raises, or cancels calls; return the function that removes it."""
        failing = sut.reactor.failing

        def misbehave(event: Any) -> None:
            if type(event).__name__ == "AttemptEnded" and failing.error_at("cancel") is not None:
                self.cancel_all[sut.number]()
            failing.check("listen")

        end: Callable[[], None] = sut.client.listen(misbehave)
        return end

    def meter(self, host: VirtualReactor) -> Meter:
        """Create the meter of the work in each turn of a client's host."""
        on_host = self._hosts[host.ip]

        def exceeded(calls: int) -> None:
            says = f"has called {calls} functions in one turn, with lists of {[*map(len, lists())]} instances"
            self.report("work-per-turn", f"client {on_host[0].number} {says}")

        def lists() -> list[Any]:
            return [sut.client.instances for sut in on_host]

        def attempts() -> int:
            return sum(sut.client.counters.attempts.total() for sut in on_host)

        return Meter(lists, attempts, exceeded)

    def watch_log(self) -> None:
        """Start to check the log: logged errors and texts with the token are violations."""
        globalLogPublisher.addObserver(self._ear)
        # Until a program configures logging, Twisted prints critical messages. Here faults raise on purpose, so the
        # printing is turned off.
        printer: Any = globalLogBeginner._temporaryObserver  # noqa: SLF001  it has no public name
        self._printer = printer
        if printer is not None:
            globalLogPublisher.removeObserver(printer)

    def unwatch_log(self) -> None:
        """Stop checking the log."""
        globalLogPublisher.removeObserver(self._ear)
        printer: Any = self._printer
        has_begun = printer is not globalLogBeginner._temporaryObserver  # noqa: SLF001
        if printer is not None and not has_begun:
            globalLogPublisher.addObserver(printer)

    def reached(self, address: Address, connection: Any, call: str) -> None:
        """Handle the arrival of a complete request at an instance."""
        if self._answered_ns.get(connection) == self._scheduler.now_ns:
            self.report(
                "connection-use", f"call {call} came to {spelled(address)} before the one in front of it was answered"
            )
        near = connection.transport.socket.peer
        # Either the connection has carried a request before, or it was opened for an earlier attempt that then used
        # another connection.
        is_reused = connection.requests > 1 or (near is not None and near.lay_idle)
        sent_s = (near.said_ns - EPOCH_S * NS) / NS if near is not None else 0.0
        self.calls.arrived(call, address, sent_s, is_reused=is_reused, near=near)
        self.streams.arrived(call, address, near, sent_s)
        if self.gateway is not None:
            self.gateway.arrived(call, address)
        if self._counting is not None and (client := call.partition(".")[0]).isdigit():
            counts = self._counting.setdefault(int(client), {})
            counts[address] = counts.get(address, 0) + 1

    def told(self, sut: ClientUnderTest, status: int, body: bytes) -> None:
        """Handle a discovery reply to a client."""
        self.client_log.answered(sut, status, self.discovery.told(sut, status, body))

    def dated(self, call: str, date: str) -> None:
        """Check `date-is-wall-time`: the Date of a request is the wall-clock time at which its call began."""
        record = self.calls.in_flight.get(call)
        if record is None or not date:
            return
        reactor, now_s = record.sut.reactor, self._scheduler.elapsed()
        if not reactor.wall_offset_s or reactor.wall_set_s >= record.began_s:
            return
        off_s = parsedate_to_datetime(date).timestamp() - (reactor.wall_seconds() - (now_s - record.began_s))
        if abs(off_s) > _DATE_SLACK_S and not self.attribution.disturbs_client(
            record.sut.number, record.began_s, now_s
        ):
            says = f"dates call {call} {off_s:+.0f} s off its wall clock"
            self.report("date-is-wall-time", f"client {record.sut.number} {says}")

    def apply_raised(self, sut: ClientUnderTest) -> None:
        """Handle an injected error while a client applied a list."""
        self.discovery.raised(sut)
        self.balancing.apply_raised(sut)

    def answered(self, connection: Any) -> None:
        """Handle an instance's response to a request."""
        self._answered_ns[connection] = self._scheduler.now_ns

    def closed(self, connection: Any) -> None:
        """Handle the close of an instance's connection."""
        self._answered_ns.pop(connection, None)

    def dialled(self, near: VirtualSocket) -> None:
        """Handle a connection that a client opens."""
        address = near.getpeername()
        sut = next((one for one in self._hosts.get(near.here[0], ()) if address in one.view), None)
        if sut is None:
            return
        n = self._network.dialled[near.here[0], address]
        if n > sut.max_connections and sut.changed_at_s < self._scheduler.elapsed() - 2 * sut.timeout_s:
            says = f"has {n} connections to {spelled(address)}, of {sut.max_connections}"
            self.report("connection-use", f"client {sut.number} {says}")

    def read(self, text: str) -> None:
        """Check `token-hidden` for a text of a client, such as an error or its repr."""
        if self.secret and self.secret in text:
            self.report("token-hidden", f"the token is in {text[:40]!r}")

    def _hear(self, event: dict[str, Any]) -> None:
        if self.secret:
            self.read(f"{formatEvent(event)} of {event.get('log_namespace')}")
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self._logged.append(event)

    # -- periodic checks

    def tick(self) -> None:
        """Run the periodic checks of the clients, connections, calls and streams; called once a virtual second."""
        for sut in self.clients_under_test.values():
            if self.secret and not self._ticks % _SELDOM:
                self.read(repr(sut.client))
            if sut.client.is_ready:
                self.discovery.look(sut)
                self.client_log.look(sut)
            spent = sut.retries + sut.hedges
            self.calls.sample(sut, spent)
            self.balancing.look(sut)
            if sut.reactor.written_after_loss:
                sut.reactor.written_after_loss = 0
                self.report("connection-use", f"client {sut.number} wrote on a transport it had been told is lost")
        self._ticks += 1
        if not self._ticks % _SELDOM:
            self.idle.look(self._hosts)
        self.calls.overdue()
        if self.streams.streams:
            self.streams.look()
        self.hear_errors()

    def hear_errors(self) -> None:
        """Report the exceptions that events have raised, and the logged errors."""
        for error in self._scheduler.errors[self._seen_errors :]:
            if is_injected(error):
                continue
            self.report("nothing-left", f"a timer or a callback raised {type(error).__name__}: {error}")
        self._seen_errors = len(self._scheduler.errors)
        for event in self._logged:
            # Twisted's legacy logging uses the key `failure`.
            failure = event.get("log_failure") or event.get("failure")
            if failure is not None and is_injected(failure.value):
                # The logged error was injected; other checkers check its effects.
                continue
            self.report("nothing-left", f"logged: {failure.getErrorMessage() if failure else formatEvent(event)}"[:500])
        self._logged.clear()

    def check_well(self, listed: Mapping[str, Mapping[Address, float]]) -> None:
        """Check `recovers-after-heal`: every client has the list of its service, and no instance is ejected."""
        for sut in self.clients_under_test.values():
            if sut.view != listed[sut.service]:
                asked = f"it asked last at {self.discovery.asked_at_s(sut):.3f} s"
                says = f"has {_view(sut.view)}, and discovery lists {_view(listed[sut.service])}; {asked}"
                self.report("recovers-after-heal", f"client {sut.number} {says}")
            if sut.client.ejected:
                out = ", ".join(instance.address for instance in sut.client.ejected)
                self.report("recovers-after-heal", f"client {sut.number} still leaves out {out}, long after the heal")

    # -- shares

    def begin_counting(self) -> None:
        """Begin to count the requests of each client at each instance."""
        self._counting = {}
        self._hedges = {sut.number: sut.hedges for sut in self.clients_under_test.values()}
        self._before = {sut.number: (sut.retries, sut.failures) for sut in self.clients_under_test.values()}

    def check_shares(self, listed: Mapping[str, Mapping[Address, float]], cycles: Mapping[str, int]) -> None:
        """Check `exact-shares`: after whole cycles of calls, each instance got exactly the share of its weight."""
        counts, self._counting = self._counting or {}, None
        for sut in self.clients_under_test.values():
            rows = listed[sut.service]
            unit = gcd(*(int(weight) for weight in rows.values())) or 1
            want = {a: int(weight) // unit * cycles[sut.service] for a, weight in rows.items() if weight > 0}
            got = counts.get(sut.number, {})
            if sut.subset_size is not None and sut.subset_size < len(want):
                self._check_part(sut, got, rows)
            elif sut.balancer == "wrr" and got != want and sut.hedges == self._hedges[sut.number]:
                off = (f"{spelled(a)} got {got.get(a, 0)} of {n}" for a, n in want.items() if got.get(a, 0) != n)
                self.report("exact-shares", f"client {sut.number}: the shares are not exact: {', '.join(off)}")

    def _check_part(self, sut: ClientUnderTest, got: Mapping[Address, int], listed: Mapping[Address, float]) -> None:
        """Check `exact-shares` and `subset-bounds` of a client with a subset.

        Shares may be off by two calls, because the calls are not whole cycles of the subset's rotation.
        """
        size, hedges = sut.subset_size or 0, sut.hedges - self._hedges[sut.number]
        if len(got) > size and not hedges:
            self.report(
                "subset-bounds", f"client {sut.number} used {len(got)} instances in quiet times, of at most {size}"
            )
        calls, weights = sum(got.values()), sum(listed[address] for address in got)
        off = {spelled(a): n for a, n in got.items() if abs(n - calls * listed[a] / weights) > _NO_WHOLE_CYCLES}
        if off and sut.balancer == "wrr" and not hedges:
            self.report(
                "exact-shares", f"client {sut.number}: the shares of its subset are not what weights say: {off}"
            )

    def check_quiet(self, sut: ClientUnderTest) -> None:
        """Check `exact-shares`: a client has not retried a call since `begin_counting`."""
        retries, failures = self._before[sut.number]
        if sut.retries != retries:
            where = ", ".join(f"{n} at {address}" for address, n in (sut.failures - failures).items())
            self.report(
                "exact-shares", f"client {sut.number} retried in quiet times, after attempts that failed: {where}"
            )

    # -- the end of the run

    def check_asks(self, sut: ClientUnderTest, name: str) -> None:
        """Check `name-asked-again` in quiet times: a client resolves the name of its endpoint for each poll."""
        asked_s = self._network.names.asked_s.get((sut.reactor.ip, name), 0.0)
        since_s = self._scheduler.elapsed() - asked_s
        if since_s > sut.poll_s[1] + sut.discovery_timeout_s + 1.0:
            self.report("name-asked-again", f"client {sut.number} has not asked for {name} for {since_s:.1f} s")

    def check_idle(self, sut: ClientUnderTest) -> None:
        """Check `nothing-left`: a client has no call left."""
        self.balancing.check_over(sut)
        self.keys.check_over(sut)
        self.hedging.check_over(sut)
        self.telemetry.check_over(sut)
        self.minority.check_over(sut)
        for kept in sut.open_inside():
            self.report("nothing-left", f"client {sut.number} has no call any more, and keeps {kept}")

    def check_closed(self, sut: ClientUnderTest) -> None:
        """Check `nothing-left` for a client that has closed."""
        if sut.number_of_timers():
            left = ", ".join(map(repr, sut.reactor.getDelayedCalls()))
            self.report("nothing-left", f"client {sut.number} has closed and left timers: {left}")
        mine = [socket for socket in self._network.transports if socket.here[0] == sut.reactor.ip]
        if mine:
            self.report("nothing-left", f"client {sut.number} has closed and left connections: {mine}")

    def check_empty(self) -> None:
        """Check `nothing-left` after everything has ended."""
        for name in self.calls.in_flight:
            self.report("call-ends-once", f"call {name} has never ended")
        if self._network.transports:
            self.report("nothing-left", f"connections are left: {self._network.transports}")
        if self._scheduler.pending:
            self.report("nothing-left", f"timers are left: {self._scheduler.pending}")
        self.hear_errors()


def _view(view: Mapping[Address, float]) -> str:
    return ", ".join(f"{spelled(address)} (weight {weight:g})" for address, weight in view.items()) or "nobody"
