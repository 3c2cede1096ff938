"""The judge of a run: hears of everything, and says what should not have been.

Checkers, by letter: (a) every call ends once, by its deadline; (b) with its own answer; (c) after fair attempts;
(d) connections are used as they should be; (e) the list is the last good reply, nobody else is called, and polling is
its own business; (f) no call fails but by faults; (g) shares are exact in quiet times; (h) nothing is left at the end;
(i) after the heal everything is well again within a bound; (j) whoever is left out gets a probe and no more; (k) what
must not be done twice is sent once; (l) hedges are fair; (m) subsets and bounds hold; (n) what is counted is what is
told; (o) silence of one instance costs no call its time; (p) calls come through while one instance answers. Those that
joined later have names, see `CHECKERS`. What it
finds stops the run.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from functools import partial
from math import gcd
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.logger import LogLevel, formatEvent, globalLogBeginner, globalLogPublisher

from simulator.virtual.books import BookChecker
from simulator.virtual.calls import CallChecker
from simulator.virtual.choices import ChoiceChecker
from simulator.virtual.diary import Diary
from simulator.virtual.ejections import EjectionChecker
from simulator.virtual.explanations import Explanations
from simulator.virtual.failing import is_injected
from simulator.virtual.idleness import IdleChecker
from simulator.virtual.legs import LegChecker
from simulator.virtual.minority import MinorityChecker
from simulator.virtual.phrases import spelled
from simulator.virtual.retries import RetryChecker
from simulator.virtual.views import ViewChecker
from simulator.virtual.vtime import EPOCH_S, NS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from simulator.virtual.lives import Lives
    from simulator.virtual.sockets import Address, VirtualSocket
    from simulator.virtual.subject import Subject
    from simulator.virtual.vnet import Network

CHECKERS = {
    "a": "every call ends exactly once, by its deadline",
    "b": "a response belongs to its request",
    "c": "attempts within the limit, never twice on an instance while another is eligible",
    "d": "one request at a time on a connection, pools within their limit, no write on a lost transport",
    "e": "the list is the last good reply, calls go to nobody else, and polls come on their own schedule",
    "f": "no call fails that no fault explains",
    "g": "weighted shares are exact in quiet times",
    "h": "nothing is left at the end: no timer, no connection, no logged error",
    "i": "after the heal the view converges and every call succeeds",
    "j": "who is left out gets one call, the probe, until its end is known, and no other while somebody is well",
    "k": "a call that is not idempotent reaches an instance once at most",
    "l": "hedges go elsewhere, count as attempts and against the budget, and one answer is taken",
    "m": "a subset stays within its size, and calls in flight within their bound while another has room",
    "n": "what a client has counted is what it has told its listeners",
    "o": "a call whose instance is silent gets a second chance before its time is over",
    "p": "no call is lost while one instance answers, and the dead cost the others next to nothing",
    "x": "the application's own checkers",
    "cancelled-is-over": "a call that was cancelled is sent nowhere any more",
    "next-good-list-applied": "after a list that could not be taken over, the next good one is",
    "retried-outcomes": "only outcomes of `retry_on`, and a 429 with Retry-After, are tried again",
    "retry-pause": "a failover that is the first, or after what was not sent, is at once; others within the backoff",
    "retry-budget": "retries stay within a share of the last 10 seconds' calls and the floor, and one for each probe",
    "attempt-timeout": "no attempt takes longer than attempt_timeout_s",
    "ejection-reason": "an instance is left out for a failed connect, silence, or eject_after failures in a row",
    "ejected-at-once": "an instance that gave reason is left out; in doubt, while fewer are out than may be",
    "ejection-forgotten": "an instance that joins the list is not left out for what it did before",
    "closed-is-gone": "when a close has ended there is no socket, no timer and no call",
    "kept-after-close": "nothing holds a closed client that its program has forgotten",
    "disk-copy": "a start uses the copy on disk when discovery has not answered, and only then",
    "date-is-wall-time": "a signed request has the time of the wall clock",
    "local-not-blamed": "no instance is left out for what the client's own host lacks",
    "idle-timeout": "a connection without a request is closed after idle_timeout_s",
    "idle-bytes": "a connection on which bytes came without a request is closed",
    "poll-jitter": "every poll comes after its interval, give or take the jitter, also after an hour",
    "token-hidden": "no log, error or repr holds the token",
}
_MOST_VIOLATIONS = 10
_NO_WHOLE_CYCLES = 2
_SELDOM = 4
"""What stays as it is once it is wrong is looked for in every fourth second."""
_DATE_SLACK_S = 2.0
"""Dates are whole seconds."""


@frozen
class Violation:
    """What should not have been.

    Attributes:
        checker: Its letter or name, a key of `CHECKERS`.
        at_s: When it was found.
        says: One line for people.
    """

    checker: str
    at_s: float
    says: str

    def __str__(self) -> str:
        return f"({self.checker}) at {self.at_s:.3f} s: {self.says}"


class Oracle:
    """Judges one run.

    Args:
        network: Of the world.

    Attributes:
        subjects: The clients, by their number.
        secret: The clients' token, which nothing may say; empty for none.
        lives: A program that is started again and again, if there is one.
        cancel_all: Cancels the calls in flight of a client, by its number.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self.violations: list[Violation] = []
        self.explanations = Explanations()
        elapsed = self._scheduler.elapsed
        self.retries = RetryChecker(elapsed, self.explanations, self.report)
        self.calls = CallChecker(elapsed, self.explanations, self.report, self.retries)
        self.views = ViewChecker(elapsed, self.explanations, self.report)
        self.diary = Diary(self._scheduler)
        self.ejections = EjectionChecker(elapsed, self.explanations, self.report)
        self.choices = ChoiceChecker(elapsed, self.explanations, self.report, self.diary.probed, self.ejections)
        self.legs = LegChecker(elapsed, self.explanations, self.report, self.retries)
        self.idle = IdleChecker(network, self.explanations, self.report)
        self.books = BookChecker(self.report)
        self.minority = MinorityChecker(elapsed, self.report)
        self.subjects: dict[int, Subject] = {}
        self._hosts: dict[str, list[Subject]] = {}
        self.secret = ""
        self._ticks = 0
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

    # -- what it hears

    def report(self, checker: str, says: str) -> None:
        """A checker has found something."""
        if len(self.violations) < _MOST_VIOLATIONS:
            violation = Violation(checker, round(self._scheduler.elapsed(), 6), says)
            self.violations.append(violation)
            self._scheduler.log(f"VIOLATION {violation}")

    def add(self, subject: Subject) -> None:
        """One client more to look at."""
        self.subjects[subject.number] = subject
        self._hosts.setdefault(subject.reactor.ip, []).append(subject)

    def asking(self, host: str, target: str) -> Subject | None:
        """The client on a host that asks the control plane for this path."""
        path = target.partition("?")[0]
        return next((one for one in self._hosts.get(host, ()) if path.endswith(f"/{one.service}")), None)

    def listen(self, subject: Subject) -> None:
        """From now on hear the events of a client."""
        subject.is_heard = True
        books, diary = self.books.open(subject), self.diary.ears(subject)
        minority = self.minority
        minority.open(subject)
        ears: dict[str, tuple[Callable[[Any], None], ...]] = {
            "AttemptEnded": (books.attempt_ended, self.legs.attempt_ended, partial(minority.attempt_ended, subject)),
            "CallEnded": (
                diary["CallEnded"],
                books.call_ended,
                partial(self.legs.call_ended, subject),
                partial(minority.call_ended, subject),
            ),
            "Ejected": (
                diary["Ejected"],
                books.ejected,
                partial(self.choices.ejected, subject),
                partial(minority.ejected, subject),
                lambda _: self.retries.ejected(subject),
            ),
            "EjectionOverflow": (books.not_ejected,),
            "StreamEnded": (books.stream_ended,),
            "Returned": (diary["Returned"], partial(self.choices.returned, subject)),
            "ListChanged": (diary["ListChanged"], partial(self.choices.list_changed, subject)),
            "PollRefused": (diary["PollRefused"],),
        }

        def hear(event: Any) -> None:
            for ear in ears.get(type(event).__name__, ()):
                ear(event)

        subject.client.listen(hear)

    def listen_badly(self, subject: Subject) -> Callable[[], None]:
        """Let a listener raise, or cancel calls, when the host's process shall; what ends that is returned."""
        failing = subject.reactor.failing

        def misbehave(event: Any) -> None:
            if type(event).__name__ == "AttemptEnded" and failing.error_at("cancel") is not None:
                self.cancel_all[subject.number]()
            failing.check("listen")

        end: Callable[[], None] = subject.client.listen(misbehave)
        return end

    def watch_log(self) -> None:
        """From now on whatever is logged as an error counts."""
        globalLogPublisher.addObserver(self._ear)
        # Until a program says where its log goes Twisted prints what is critical; here faults raise on purpose.
        printer: Any = globalLogBeginner._temporaryObserver  # noqa: SLF001  there is no public way to ask
        self._printer = printer
        if printer is not None:
            globalLogPublisher.removeObserver(printer)

    def unwatch_log(self) -> None:
        """No more of that."""
        globalLogPublisher.removeObserver(self._ear)
        printer: Any = self._printer
        has_begun = printer is not globalLogBeginner._temporaryObserver  # noqa: SLF001
        if printer is not None and not has_begun:
            globalLogPublisher.addObserver(printer)

    def reached(self, address: Address, connection: Any, call: str) -> None:
        """A request is complete at an instance."""
        if self._answered_ns.get(connection) == self._scheduler.now_ns:
            self.report("d", f"call {call} came to {spelled(address)} before the one in front of it was answered")
        near = connection.transport.socket.peer
        # Kept after a request, or since it was opened: for a call that another connection served.
        is_kept = connection.requests > 1 or (near is not None and near.lay_idle)
        sent_s = (near.said_ns - EPOCH_S * NS) / NS if near is not None else 0.0
        self.calls.arrived(call, address, sent_s, is_kept=is_kept)
        if self._counting is not None and (client := call.partition(".")[0]).isdigit():
            counts = self._counting.setdefault(int(client), {})
            counts[address] = counts.get(address, 0) + 1

    def told(self, subject: Subject, status: int, body: bytes) -> None:
        """Discovery sends a client a reply."""
        self.diary.answered(subject, status, self.views.told(subject, status, body))

    def dated(self, call: str, date: str) -> None:
        """A request says when it was made, which is when its call began."""
        record = self.calls.in_flight.get(call)
        if record is None or not date:
            return
        reactor, now_s = record.subject.reactor, self._scheduler.elapsed()
        if not reactor.wall_offset_s or reactor.wall_set_s >= record.began_s:
            return
        off_s = parsedate_to_datetime(date).timestamp() - (reactor.wall_seconds() - (now_s - record.began_s))
        if abs(off_s) > _DATE_SLACK_S and not self.explanations.disturbs_client(
            record.subject.number, record.began_s, now_s
        ):
            says = f"dates call {call} {off_s:+.0f} s off its wall clock"
            self.report("date-is-wall-time", f"client {record.subject.number} {says}")

    def apply_raised(self, subject: Subject) -> None:
        """Something has raised while a client took over a list."""
        self.views.raised(subject)
        self.choices.apply_raised(subject)

    def answered(self, connection: Any) -> None:
        """An instance has answered a request."""
        self._answered_ns[connection] = self._scheduler.now_ns

    def closed(self, connection: Any) -> None:
        """A connection of an instance is gone."""
        self._answered_ns.pop(connection, None)

    def dialled(self, near: VirtualSocket) -> None:
        """A client opens a connection."""
        address = near.getpeername()
        subject = next((one for one in self._hosts.get(near.here[0], ()) if address in one.view), None)
        if subject is None:
            return
        n = self._network.dialled[near.here[0], address]
        if n > subject.max_connections and subject.changed_at_s < self._scheduler.elapsed() - 2 * subject.timeout_s:
            says = f"has {n} connections to {spelled(address)}, of {subject.max_connections}"
            self.report("d", f"client {subject.number} {says}")

    def read(self, text: str) -> None:
        """Look at what a client says in an error or a repr."""
        if self.secret and self.secret in text:
            self.report("token-hidden", f"the token is in {text[:40]!r}")

    def _hear(self, event: dict[str, Any]) -> None:
        if self.secret:
            self.read(f"{formatEvent(event)} of {event.get('log_namespace')}")
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self._logged.append(event)

    # -- what it looks at

    def tick(self) -> None:
        """Look at everything that can be looked at any time."""
        for subject in self.subjects.values():
            if self.secret and not self._ticks % _SELDOM:
                self.read(repr(subject.client))
            if subject.client.is_ready:
                self.views.look(subject)
                self.diary.look(subject)
            spent = subject.retries + subject.hedges
            self.calls.sample(subject, spent)
            self.choices.look(subject)
            if subject.reactor.written_after_loss:
                subject.reactor.written_after_loss = 0
                self.report("d", f"client {subject.number} wrote on a transport it had been told is lost")
        self._ticks += 1
        if not self._ticks % _SELDOM:
            self.idle.look(self._hosts)
        self.calls.overdue()
        self.hear_errors()

    def hear_errors(self) -> None:
        """Report what was raised or logged meanwhile."""
        for error in self._scheduler.errors[self._seen_errors :]:
            if is_injected(error):
                continue
            self.report("h", f"a timer or a callback raised {type(error).__name__}: {error}")
        self._seen_errors = len(self._scheduler.errors)
        for event in self._logged:
            # Twisted's older log calls it by another name.
            failure = event.get("log_failure") or event.get("failure")
            if failure is not None and is_injected(failure.value):
                # What it has done is seen in other ways.
                continue
            self.report("h", f"logged: {failure.getErrorMessage() if failure else formatEvent(event)}"[:500])
        self._logged.clear()

    def check_well(self, listed: Mapping[str, Mapping[Address, float]]) -> None:
        """(i): the lists say what is, and nobody is left out any more; given is what each service's list must be."""
        for subject in self.subjects.values():
            if subject.view != listed[subject.service]:
                asked = f"it asked last at {self.views.asked_at_s(subject):.3f} s"
                says = f"has {_view(subject.view)}, and discovery lists {_view(listed[subject.service])}; {asked}"
                self.report("i", f"client {subject.number} {says}")
            if subject.client.ejected:
                out = ", ".join(instance.address for instance in subject.client.ejected)
                self.report("i", f"client {subject.number} still leaves out {out}, long after the heal")

    # -- shares

    def begin_counting(self) -> None:
        """Count the requests of each client at each instance."""
        self._counting = {}
        self._hedges = {subject.number: subject.hedges for subject in self.subjects.values()}
        self._before = {subject.number: (subject.retries, subject.failures) for subject in self.subjects.values()}

    def check_shares(self, listed: Mapping[str, Mapping[Address, float]], cycles: Mapping[str, int]) -> None:
        """(g): so many whole cycles of each service were called; each instance got its weight's share, to the call."""
        counts, self._counting = self._counting or {}, None
        for subject in self.subjects.values():
            rows = listed[subject.service]
            unit = gcd(*(int(weight) for weight in rows.values())) or 1
            want = {a: int(weight) // unit * cycles[subject.service] for a, weight in rows.items() if weight > 0}
            got = counts.get(subject.number, {})
            if subject.subset_size is not None and subject.subset_size < len(want):
                self._check_part(subject, got, rows)
            elif subject.balancer == "wrr" and got != want and subject.hedges == self._hedges[subject.number]:
                off = (f"{spelled(a)} got {got.get(a, 0)} of {n}" for a, n in want.items() if got.get(a, 0) != n)
                self.report("g", f"client {subject.number}: the shares are not exact: {', '.join(off)}")

    def _check_part(self, subject: Subject, got: Mapping[Address, int], listed: Mapping[Address, float]) -> None:
        """(g), (m): of a part of the fleet each got its share, to a call, since these are no whole cycles."""
        size, hedges = subject.subset_size or 0, subject.hedges - self._hedges[subject.number]
        if len(got) > size and not hedges:
            self.report("m", f"client {subject.number} used {len(got)} instances in quiet times, of at most {size}")
        calls, weights = sum(got.values()), sum(listed[address] for address in got)
        off = {spelled(a): n for a, n in got.items() if abs(n - calls * listed[a] / weights) > _NO_WHOLE_CYCLES}
        if off and subject.balancer == "wrr" and not hedges:
            self.report("g", f"client {subject.number}: the shares of its subset are not what weights say: {off}")

    def check_quiet(self, subject: Subject) -> None:
        """(g): a client has retried nothing since counting began."""
        retries, failures = self._before[subject.number]
        if subject.retries != retries:
            where = ", ".join(f"{n} at {address}" for address, n in (subject.failures - failures).items())
            self.report("g", f"client {subject.number} retried in quiet times, after attempts that failed: {where}")

    # -- the end

    def check_idle(self, subject: Subject) -> None:
        """(h): a client has no call any more."""
        self.choices.check_over(subject)
        self.legs.check_over(subject)
        self.books.check_over(subject)
        self.minority.check_over(subject)
        for kept in subject.open_inside():
            self.report("h", f"client {subject.number} has no call any more, and keeps {kept}")

    def check_closed(self, subject: Subject) -> None:
        """(h): a client has closed."""
        if subject.number_of_timers():
            left = ", ".join(map(repr, subject.reactor.getDelayedCalls()))
            self.report("h", f"client {subject.number} has closed and left timers: {left}")
        mine = [socket for socket in self._network.transports if socket.here[0] == subject.reactor.ip]
        if mine:
            self.report("h", f"client {subject.number} has closed and left connections: {mine}")

    def check_empty(self) -> None:
        """(h): everything has ended."""
        for name in self.calls.in_flight:
            self.report("a", f"call {name} has never ended")
        if self._network.transports:
            self.report("h", f"connections are left: {self._network.transports}")
        if self._scheduler.pending:
            self.report("h", f"timers are left: {self._scheduler.pending}")
        self.hear_errors()


def _view(view: Mapping[Address, float]) -> str:
    return ", ".join(f"{spelled(address)} (weight {weight:g})" for address, weight in view.items()) or "nobody"
