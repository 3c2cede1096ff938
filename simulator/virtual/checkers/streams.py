"""Checks of streams: responses that are read while they arrive.

1. The bytes that a reader gets are a prefix of the bytes that one instance has sent for this request. If the stream has
   ended without an error, the reader has got all of these bytes.
2. After the head of a response was passed to the program, the request is not sent again. No hedge is sent while an
   instance keeps sending.
3. Unread bytes stay within their bound, and a stream counts as in flight until its last byte.
4. A stream ends once and within its time limits; only faults break it. A closed stream leaves no socket and no timer.
5. A client that closes waits for its streams, and breaks them when `drain_timeout_s` has passed.

The rules come from the how-to page about streams. `stream_service` reports what the service sends. `stream_traffic`
reports what the program's reader gets. The sockets record when bytes arrived.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.faults.catalog import BROKEN, STATUS, VIOLATION, WRONG
from simulator.virtual.network.virtual_time import EPOCH_S, NS
from simulator.virtual.reporting.formatting import spelled
from simulator.virtual.stream_service import content, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.virtual.checkers.calls import ObservedCall
    from simulator.virtual.checkers.retries import EndedAttempt
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address, VirtualSocket
    from simulator.virtual.stream_service import StreamSpec

_SLACK_S = 0.01
_UNREAD_S = 1e-5
_OVERDUE_S = 1.5
_CLOSES_WITHIN_S = 0.1
_ONE_READ_BYTES = 2**16
_SPEAKS_SHARE = 0.5
"""Share of a call's time; a pause in a response must be longer than this before the client may hedge the call."""
_KEPT = 200
BROKEN_BY_INSTANCE = frozenset({"cut", "violation", "late"})
"""Statuses of a stream that its instance may have broken; they count as a failure of the instance."""


@define(eq=False)
class ObservedStream:
    """A stream, or the response to an ordinary call that is sent in pieces.

    Attributes:
        call: The call.
        spec: The body that it requests.
        has_body: Whether the response has a body; the response to a HEAD request has none.
        takes_any_status: Whether the call accepts a response of any status.
        idle_s: The longest permitted silence, in seconds.
        total_s: The longest permitted time after the head, in seconds; `None` for no limit.
        sent: Serial number and instance id of each response to it, by the instance's address.
        sockets: The client's socket of each arrival, by the instance's address.
        heard: Times at which bytes arrived on these sockets since the request's arrival, in nanoseconds, by the
            instance's address.
        stream: The open stream; `None` before the head.
        opened_s: Time at which its head was passed to the program, in virtual seconds; `None` before.
        asked_s: Time at which the reader requested the piece that it waits for, in virtual seconds.
        got: The pieces that the reader got.
        got_bytes: The number of bytes in these pieces.
        is_closing: Whether the program has closed the stream, or cancelled its reader.
    """

    call: ObservedCall
    spec: StreamSpec
    has_body: bool = True
    takes_any_status: bool = False
    idle_s: float = 30.0
    total_s: float | None = None
    sent: dict[Address, list[tuple[int, str]]] = field(factory=dict)
    sockets: dict[Address, VirtualSocket] = field(factory=dict)
    heard: dict[Address, list[int]] = field(factory=dict)
    stream: Any = None
    opened_s: float | None = None
    asked_s: float = 0.0
    got: list[bytes] = field(factory=list)
    got_bytes: int = 0
    is_closing: bool = False

    @property
    def address(self) -> Address:
        """The address of the instance that sends the open stream."""
        key: Address = self.stream.instance.key
        return key


@define(eq=False, slots=False)
class StreamChecker(Checker):
    """Checks the invariants of streams in `CHECKERS`, from `stream-bytes` to `stream-drain`.

    Attributes:
        _in_flight: Returns how many attempts of a client are in flight at an address, as reported by its fleet.
        _has_recorded: Returns whether a client has recorded an attempt status for an address since a time.
        _on_head: Called with the client and the instance's address when the head of a stream was passed to the program.
        address_of: Returns the address of an instance by its id; `None` if there is no such instance.
        streams: The streams and piecewise responses that have not ended, by the name of their call.
    """

    _in_flight: Callable[[ClientUnderTest, Address], int]
    _has_recorded: Callable[[ClientUnderTest, Address, str, float], bool]
    _on_head: Callable[[ClientUnderTest, Address], None]
    address_of: Callable[[str], Address | None] = field(init=False, default=lambda _: None)
    streams: dict[str, ObservedStream] = field(init=False, factory=dict)
    _over: dict[str, float] = field(init=False, factory=dict)
    _used: dict[VirtualSocket, int] = field(init=False, factory=dict)
    _closed_at_s: dict[int, float] = field(init=False, factory=dict)
    _late_logs: deque[ObservedStream] = field(init=False, factory=lambda: deque(maxlen=_KEPT))

    # -- events

    def begin(self, watched: ObservedStream) -> None:
        """Handle the start of a call."""
        self.streams[watched.call.name] = watched

    def sends(self, call: str, instance: str, serial: int) -> None:
        """Handle the start of a response at an instance."""
        watched, address = self.streams.get(call), self.address_of(instance)
        if watched is not None and address is not None:
            watched.sent.setdefault(address, []).append((serial, instance))

    def arrived(self, call: str, address: Address, near: VirtualSocket | None, sent_s: float) -> None:
        """Handle the arrival of a complete request at an instance; `near` is the client's end of its connection."""
        if near is not None:
            near.heard_log = None
        opened_s = self._over.get(call)
        watched = self.streams.get(call)
        if watched is not None:
            opened_s = watched.opened_s
            if near is not None:
                watched.sockets[address] = near
                near.heard_log = watched.heard[address] = []
        if opened_s is not None and sent_s > opened_s + _SLACK_S:
            says = f"was sent to {spelled(address)} {sent_s - opened_s:.3f} s after its head was handed over"
            self._report("stream-not-repeated", f"call {call} {says}")

    def opened(self, watched: ObservedStream, stream: Any) -> None:
        """Handle the head of a stream."""
        watched.stream = stream
        watched.opened_s = watched.asked_s = self._seconds()
        self._on_head(watched.call.sut, watched.address)

    def got(self, watched: ObservedStream, piece: bytes) -> None:
        """Handle a piece that the reader has got."""
        watched.got.append(piece)
        watched.got_bytes += len(piece)
        watched.asked_s = self._seconds()

    def reading(self, watched: ObservedStream) -> None:
        """Handle the reader's request for the next piece after a pause."""
        watched.asked_s = self._seconds()
        self._check_unread(watched)

    def closing(self, watched: ObservedStream) -> None:
        """Handle the close of a stream by the program, before it takes effect."""
        watched.is_closing = True

    def client_closes(self, sut: ClientUnderTest) -> None:
        """Handle the start of a client's close."""
        self._closed_at_s[sut.number] = self._seconds()

    def client_closed(self, sut: ClientUnderTest) -> None:
        """Check that a client has closed in time."""
        took_s = self._seconds() - self._closed_at_s[sut.number]
        if took_s > sut.drain_timeout_s + _CLOSES_WITHIN_S:
            says = f"took {took_s:.3f} s to close, with a drain_timeout_s of {sut.drain_timeout_s:g}"
            self._report("stream-drain", f"client {sut.number} {says}")

    def forget(self, watched: ObservedStream) -> None:
        """Handle a call that has ended without a stream."""
        self.streams.pop(watched.call.name, None)
        self._late_logs.append(watched)

    # -- the ends

    def read_whole(self, watched: ObservedStream) -> None:
        """Check a stream that its reader has read to the end."""
        self._check_bytes(watched, is_whole=True)
        self._end(watched)

    def left(self, watched: ObservedStream) -> None:
        """Check a stream that the program has closed before its end."""
        self._check_bytes(watched, is_whole=False)
        self._end(watched)

    def broke(self, watched: ObservedStream, error: BaseException) -> None:
        """Check a stream whose reader got an error."""
        name = type(error).__name__
        now_s, call = self._seconds(), watched.call.name
        self._check_bytes(watched, is_whole=False)
        self._end(watched)
        if name == "BodyError":
            if watched.spec.form != "gzip" or not self._explains(watched, WRONG):
                self._report("stream-bytes", f"call {call} cannot be read: {error}")
            return
        if name != "StreamBroken":
            self._report("stream-ends-once", f"call {call} has ended as {name}: {error}")
            return
        status = broken_as(error)
        if status == "cancelled":
            self._check_cancelled(watched, now_s)
        elif not self._is_disturbed(watched):
            self._check_break(watched, status, error)

    def _check_break(self, watched: ObservedStream, status: str, error: BaseException) -> None:
        """Check that a time limit or a fault explains the break of a stream, and that the client recorded a failure."""
        sut, address, call = watched.call.sut, watched.address, watched.call.name
        ran_s = self._seconds() - (watched.opened_s or 0.0)
        if status == "deadline":
            if watched.total_s is None or ran_s < watched.total_s - _SLACK_S:
                says = f"ended by its total_timeout_s of {watched.total_s} s after {ran_s:.3f} s"
                self._report("stream-time-limits", f"call {call} {says}")
        elif status == "late" and ran_s < watched.idle_s - _SLACK_S:
            says = f"ended {ran_s:.3f} s after its head for a silence of {watched.idle_s:g} s"
            self._report("stream-time-limits", f"call {call} {says}")
        elif not self._explains(watched, status):
            says = f"nothing explains that its stream from {spelled(address)} broke: {error}"
            self._report("stream-break-explained", f"call {call}: {says}")
        if status in BROKEN_BY_INSTANCE and not self._has_recorded(sut, address, status, watched.opened_s or 0.0):
            says = f"has not recorded {status} for {spelled(address)}, whose stream broke"
            self._report("stream-outcome", f"client {sut.number} {says} (call {call})")

    def whole_response(self, watched: ObservedStream, body: bytes) -> None:
        """Check a response that was sent in pieces and returned to the program as a whole."""
        watched.got = [body]
        self._check_against(
            watched, [sent for each in watched.sent.items() for sent in self._bodies(watched, *each)], is_whole=True
        )
        self.forget(watched)

    def check_closed(self, watched: ObservedStream) -> None:
        """Check that a stream that ended before its last byte has closed its connection and cancelled its timers."""
        near = watched.sockets.get(watched.address)
        call, sut = watched.call.name, watched.call.sut
        if (
            near is not None
            and not (near.is_closed or near.is_dead)
            and near.heard_log is watched.heard[watched.address]
        ):
            says = f"was closed before its end, and its connection to {spelled(watched.address)} is open"
            self._report("stream-closed-is-gone", f"call {call} {says}")
        if sut.timers_of(watched.stream):
            self._report("stream-closed-is-gone", f"call {call} has ended, and its stream keeps timers")

    @property
    def closes_within_s(self) -> float:
        """Seconds within which a closed stream must have closed its connection."""
        return _CLOSES_WITHIN_S

    # -- periodic checks

    def look(self) -> None:
        """Check the open streams."""
        open_at: Counter[tuple[ClientUnderTest, Address]] = Counter()
        now_s = self._seconds()
        for watched in list(self.streams.values()):
            if watched.stream is None or not watched.has_body:
                continue
            self._check_unread(watched)
            sut = watched.call.sut
            if not sut.has_ended(watched.stream):
                open_at[sut, watched.address] += 1
                self._check_limits(watched, now_s)
        for (sut, address), n in open_at.items():
            counted = self._in_flight(sut, address)
            if counted < n:
                says = f"has {n} open streams of {spelled(address)}, and {counted} calls in flight there"
                self._report("stream-load", f"client {sut.number} {says}")

    def idle_since_ns(self, near: VirtualSocket, idle_since_ns: int) -> int | None:
        """Return the time since which a connection has been idle, in nanoseconds; `None` while it carries a stream."""
        for watched in self.streams.values():
            if near in watched.sockets.values():
                return None
        used_ns = self._used.get(near)
        if used_ns is None:
            return idle_since_ns
        if near.is_closed or near.is_dead:
            del self._used[near]
        return max(used_ns, idle_since_ns)

    def check_over(self) -> None:
        """Check that no stream is left; the caller has waited until every stream should have ended."""
        for name, watched in self.streams.items():
            state = "open" if watched.stream is not None else "without a head"
            self._report("stream-ends-once", f"call {name} is still {state}, long after streams are over")

    def ran_beside(self, sut: ClientUnderTest, call: Any, attempt: EndedAttempt, other: EndedAttempt) -> None:
        """Check that no attempt was sent while another attempt had received bytes within the limit of silence.

        Args:
            sut: The client.
            call: The call object in the client's events.
            attempt: The later attempt.
            other: The attempt that was running when `attempt` began.
        """
        watched = self._watched(call)
        times = watched.heard.get(other.address) if watched is not None else None
        if watched is None or not times:
            return
        # A reactor runs timers before it reads sockets, so bytes that arrived at the same time are not read yet.
        read_by_s = attempt.began_s - _UNREAD_S
        heard_s = max((at_s for at_s in map(_elapsed_s, times) if at_s < read_by_s), default=-1.0)
        if heard_s < other.began_s:
            return
        silent_s = attempt.began_s - heard_s
        if silent_s < watched.call.timeout_s * _SPEAKS_SHARE - _SLACK_S:
            says = f"asked {spelled(attempt.address)}, {silent_s:.3f} s after {spelled(other.address)} had sent bytes"
            self._report("hedge-beside-speaker", f"client {sut.number}: call {watched.call.name} {says}")

    def takes_any_status(self, call: Any) -> bool:
        """Whether a call accepts a response of any status; `call` is the call object in the client's events."""
        watched = self._watched(call)
        return watched is not None and watched.takes_any_status

    # -- internals

    def _watched(self, call: Any) -> ObservedStream | None:
        request = call.request
        name = name_of(request.body, request.target.decode("latin-1").partition("?")[2])
        return self.streams.get(name) or next((w for w in self._late_logs if w.call.name == name), None)

    def _end(self, watched: ObservedStream) -> None:
        if self.streams.pop(watched.call.name, None) is None:
            self._report("stream-ends-once", f"call {watched.call.name} has ended twice")
        self._over[watched.call.name] = watched.opened_s or 0.0
        if len(self._over) > _KEPT:
            del self._over[next(iter(self._over))]
        self._late_logs.append(watched)
        near = watched.sockets.get(watched.address)
        if near is not None:
            self._used[near] = round(self._seconds() * NS) + EPOCH_S * NS

    def _explains(self, watched: ObservedStream, status: str, http_status: int = 0) -> bool:
        """Whether faults explain that a stream broke with this status, or that its bytes are wrong."""
        explain, window = self._attribution.explain, (watched.call.began_s, self._seconds())
        number, address = watched.call.sut.number, watched.address
        if status == "late":
            # `late` is the status of a silent stream. The faults that delay a response until its deadline also delay
            # the pieces of a stream.
            status = "deadline"
        if explain(address, status, http_status, number, window):
            return True
        # A body that a fault has truncated or changed may contradict its own framing.
        return status in (VIOLATION, *BROKEN) and explain(address, WRONG, 0, number, window)

    def explains_status(self, watched: ObservedStream, http_status: int) -> bool:
        """Whether faults explain the status of a response."""
        window = (watched.call.began_s, self._seconds())
        return any(
            self._attribution.explain(address, STATUS, http_status, watched.call.sut.number, window)
            for address in watched.sockets
        )

    def _is_disturbed(self, watched: ObservedStream) -> bool:
        return self._attribution.disturbs_client(watched.call.sut.number, watched.call.began_s, self._seconds())

    def _bodies(self, watched: ObservedStream, address: Address, sent: list[tuple[int, str]]) -> list[bytes]:  # noqa: ARG002
        return [content(watched.call.name, instance, serial, watched.spec) for serial, instance in sent]

    def _check_bytes(self, watched: ObservedStream, *, is_whole: bool) -> None:
        address = watched.address
        self._check_against(watched, self._bodies(watched, address, watched.sent.get(address, [])), is_whole=is_whole)

    def _check_against(self, watched: ObservedStream, bodies: list[bytes], *, is_whole: bool) -> None:
        text = b"".join(watched.got)
        watched.got.clear()
        if not watched.has_body:
            is_right = not text
        elif is_whole:
            is_right = text in bodies
        else:
            is_right = not text or any(body.startswith(text) for body in bodies)
        if is_right or any(
            self._attribution.explain(
                address, WRONG, 0, watched.call.sut.number, (watched.call.began_s, self._seconds())
            )
            for address in watched.sockets
        ):
            return
        at = max((_common(text, body) for body in bodies), default=0)
        lengths = " or ".join(str(len(body)) for body in bodies) or "none"
        says = f"read {len(text)} bytes, of {lengths} that were sent; they agree in the first {at}"
        self._report("stream-bytes", f"call {watched.call.name} ({watched.spec}) {says}")

    def _check_unread(self, watched: ObservedStream) -> None:
        sut = watched.call.sut
        unread = sut.unread_bytes(watched.stream)
        if unread > sut.stream_buffer_bytes + _ONE_READ_BYTES:
            says = f"has {unread} unread bytes, with a stream_buffer_bytes of {sut.stream_buffer_bytes}"
            self._report("stream-buffer-bound", f"call {watched.call.name} {says}")

    def _check_limits(self, watched: ObservedStream, now_s: float) -> None:
        ran_s = now_s - (watched.opened_s or 0.0)
        if watched.total_s is not None and ran_s > watched.total_s + _OVERDUE_S and not self._is_disturbed(watched):
            says = f"has been open for {ran_s:.1f} s, with a total_timeout_s of {watched.total_s:g}"
            self._report("stream-time-limits", f"call {watched.call.name} {says}")
        near = watched.sockets.get(watched.address)
        if near is None or not watched.call.sut.is_waiting(watched.stream):
            return
        silent_s = now_s - max(_elapsed_s(near.heard_ns), watched.asked_s)
        if silent_s > watched.idle_s + _OVERDUE_S and not self._is_disturbed(watched):
            says = f"has waited for a piece for {silent_s:.1f} s, of at most {watched.idle_s:g}"
            self._report("stream-time-limits", f"call {watched.call.name} {says}")

    def _check_cancelled(self, watched: ObservedStream, now_s: float) -> None:
        """Check a stream that was closed by the program, or broken by its client's close."""
        if watched.is_closing:
            return
        sut = watched.call.sut
        closed_s = self._closed_at_s.get(sut.number)
        if closed_s is None:
            self._report("stream-ends-once", f"call {watched.call.name} was cancelled by nobody")
        elif abs(now_s - closed_s - sut.drain_timeout_s) > _SLACK_S:
            says = f"was broken {now_s - closed_s:.3f} s after its client closed, of {sut.drain_timeout_s:g}"
            self._report("stream-drain", f"call {watched.call.name} {says}")


def broken_as(error: BaseException) -> str:
    """Return the status of the last attempt in the error of a broken stream; empty for none."""
    attempts = getattr(error, "attempts", ())
    return str(attempts[-1].outcome.attempt_status) if attempts else ""


def _elapsed_s(at_ns: int) -> float:
    """Convert nanoseconds since the epoch, as the network counts them, to virtual seconds."""
    return (at_ns - EPOCH_S * NS) / NS


def _common(text: bytes, body: bytes) -> int:
    """Return the length of the common prefix of two texts."""
    low, high = 0, min(len(text), len(body))
    while low < high:
        middle = (low + high + 1) // 2
        if text[:middle] == body[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
