"""Discovery: polls the control plane for the list of instances.

A `Source` reads the list from one kind of control plane. The `Poller` schedules the polls, counts the results, and logs
failures. `policy.instances` decides whether a list is usable. Calls do not wait for discovery.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from eas_tw.display import text_of
from eas_tw.net.turns import one_step_a_turn
from eas_tw.policy.instances import (
    BadStatusError,
    DiscoveryReplyRejected,
    RejectReason,
    Snapshot,
    upstreams_in_steps,
    vipserver_in_steps,
)
from eas_tw.telemetry.contained import contain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IReactorTime


_log = Logger(namespace="eas_tw.discovery")

DOCUMENTED_PATH = "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/{service}"
NEWER_PATH = "/api/v1/servicediscovery/upstreams/{service}"
# The documented path is tried first, and the newer path after a 404. Later polls start with the path that worked
# (docs/design/decisions.md).
PATHS = (DOCUMENTED_PATH, NEWER_PATH)

_NOT_FOUND = 404
# Failed polls before the first list are repeated soon, since `init` waits for it; the pause doubles up to `interval_s`.
_FIRST_RETRY_S = 0.1
# A poll uses only one server, so the rest of a longer list need not be parsed.
_SERVERS_BYTES = 2**16
_NUMBERS = re.compile(r"-?\d+")


class Fetcher(Protocol):
    """Fetches documents; implemented by `net.fetch`, and by `net.agent_fetch` through the user's agent."""

    def get(self, url: str) -> Deferred[bytes]:
        """Fetch the document at `url`; fails with a `DiscoveryReplyRejected`."""

    def close(self) -> Deferred[Any]:
        """Close the sockets; return a Deferred that fires when they are closed."""


class Source(Protocol):
    """Reads the list from one kind of control plane."""

    async def read(self) -> Snapshot:
        """Fetch the current list.

        Raises:
            DiscoveryReplyRejected: There is no usable list.
        """

    def close(self) -> Deferred[Any]:
        """Close the sockets; return a Deferred that fires when they are closed."""


class _Reader:
    """Parses replies in steps, and caches the last usable reply, because most replies equal the previous one."""

    def __init__(self, clock: IReactorTime, steps: Callable[[bytes], Generator[None, None, Snapshot]]) -> None:
        self._clock = clock
        self._steps = steps
        self._last: tuple[bytes, Snapshot] | None = None

    async def read(self, body: bytes) -> Snapshot:
        """Return the content of a reply, or raise `DiscoveryReplyRejected`."""
        if self._last is None or self._last[0] != body:
            self._last = body, await one_step_a_turn(self._clock, self._steps(body))
        return self._last[1]


class UpstreamsSource:
    """Reads the list from the upstreams interface, on the documented or the newer path; a 404 switches the path.

    Args:
        clock: The reactor, on which a long list is parsed in steps.
        fetcher: The object that sends the requests.
        endpoint: URL of the control plane, such as `http://pai-eas-vpc.cn-shanghai.aliyuncs.com`.
        service: Name of the service; for `group/service`, only `group`.
        paths: Path templates with the field `service`, in the order in which they are tried.
        inside: Whether this process runs inside EAS, which adds `?internal=true`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        fetcher: Fetcher,
        endpoint: str,
        service: str,
        *,
        paths: Sequence[str] = PATHS,
        inside: bool = False,
    ) -> None:
        self._fetcher = fetcher
        query = "?internal=true" if inside else ""
        self._urls = [endpoint + path.format(service=service) + query for path in paths]
        self._reader = _Reader(clock, upstreams_in_steps)

    async def read(self) -> Snapshot:
        """Fetch the current list."""
        for tries_left in reversed(range(len(self._urls))):
            try:
                body = await self._fetcher.get(self._urls[0])
            except BadStatusError as error:
                if error.status != _NOT_FOUND or not tries_left:
                    raise
                self._urls.append(self._urls.pop(0))
            else:
                return await self._reader.read(body)
        raise AssertionError("the last try returns or raises")

    def close(self) -> Deferred[Any]:
        """Close the sockets; return a Deferred that fires when they are closed."""
        return self._fetcher.close()


class VipServerSource:
    """Reads the list from VIPServer: an address server lists the servers, each of which lists the hosts of a domain.

    Args:
        clock: The reactor, on which a long list is parsed in steps.
        fetcher: The object that sends the requests.
        address_server: URL of the address server, such as `http://jmenv.tbsite.net:8080`.
        domain: The domain to look up.
        rng: The generator of random numbers for the choice of the server.
    """

    def __init__(self, clock: IReactorTime, fetcher: Fetcher, address_server: str, domain: str, rng: Random) -> None:
        self._fetcher = fetcher
        self._address_server = address_server
        self._domain = domain
        self._rng = rng
        self._reader = _Reader(clock, vipserver_in_steps)

    async def read(self) -> Snapshot:
        """Fetch the current list."""
        listed = await self._fetcher.get(f"{self._address_server}/vipserver/serverlist")
        servers = _servers(listed)
        if not servers:
            raise DiscoveryReplyRejected(RejectReason.EMPTY_LIST, "the address server names no server")
        server = self._rng.choice(servers)
        body = await self._fetcher.get(f"http://{server}/vipserver/api/srvIPXT?dom={self._domain}&clusters=DEFAULT")
        return await self._reader.read(body)

    def close(self) -> Deferred[Any]:
        """Close the sockets; return a Deferred that fires when they are closed."""
        return self._fetcher.close()


def _servers(listed: bytes) -> list[str]:
    """Return the lines in the first 64 KiB of an address server's reply."""
    lines = listed[:_SERVERS_BYTES].decode("utf-8", "replace").splitlines()
    if len(listed) > _SERVERS_BYTES:
        del lines[-1:]  # the last line may be truncated
    return [line.strip() for line in lines if line.strip()]


@frozen
class DiscoveryStatus:
    """Counters and state of discovery.

    Attributes:
        polls: Number of polls that have ended.
        accepted: Number of polls with a usable list.
        rejections: Number of polls that changed nothing, by reason (`RejectReason`).
        bad_rows: Number of rows dropped from usable lists, by fault: `not_an_object`, `ip`, `port`, `weight`, or
            `beyond_limit` for those after the 10,000th instance.
        bad_row_examples: The first dropped row of each fault, described in one short sentence.
        age_s: Age of the list in use, in seconds; `None` before the first usable list.
        is_stale: Whether the list in use is the disk copy, because discovery has not answered yet.
        last_error: The error of the last poll; empty if the poll succeeded.
    """

    polls: int = 0
    accepted: int = 0
    rejections: Counter[str] = field(factory=Counter)
    bad_rows: Counter[str] = field(factory=Counter)
    bad_row_examples: Mapping[str, str] = field(factory=dict)
    age_s: float | None = None
    last_error: str = ""
    is_stale: bool = False


class Poller:
    """Polls a source at intervals, one poll at a time.

    The interval is `interval_s`, plus or minus `jitter`; it is shorter before the first usable list.

    Args:
        clock: The reactor.
        source: The source of the list.
        service: Name of the service, for the log.
        on_snapshot: Called with each usable list. If it raises, the poll counts as rejected (`not_applied`).
        on_rejected: Called with the error of a poll that changed nothing.
        interval_s: Seconds from the beginning of a poll to the beginning of the next poll, > 0.
        jitter: Share by which each interval varies, 0-1, so that many clients do not poll at the same time.
        rng: The generator of random numbers for the jitter.

    Attributes:
        advice: What to check after the last rejected reply; empty before the first rejected reply.
    """

    def __init__(
        self,
        clock: IReactorTime,
        source: Source,
        *,
        service: str,
        on_snapshot: Callable[[Snapshot], None],
        on_rejected: Callable[[DiscoveryReplyRejected], None] = lambda _: None,
        interval_s: float,
        jitter: float,
        rng: Random,
    ) -> None:
        self._clock = clock
        self._source = source
        self._service = service
        self._on_snapshot = on_snapshot
        self._on_rejected = on_rejected
        self._interval_s = interval_s
        self._jitter = jitter
        self._rng = rng
        self._polling: Deferred[None] | None = None
        self._next: IDelayedCall | None = None
        self._is_stopped = False
        self._polls = self._accepted = 0
        self._rejections: Counter[str] = Counter()
        self._bad_rows: Counter[str] = Counter()
        self._good_at: float | None = None
        self._last_error = ""
        self.advice = ""
        self._hurry_s = _FIRST_RETRY_S
        self._logged_rejection: tuple[object, ...] | None = None
        self._bad_row_examples: dict[str, str] = {}

    @property
    def status(self) -> DiscoveryStatus:
        """The counters and the state so far."""
        return DiscoveryStatus(
            polls=self._polls,
            accepted=self._accepted,
            rejections=self._rejections.copy(),
            bad_rows=self._bad_rows.copy(),
            bad_row_examples=dict(self._bad_row_examples),
            age_s=None if self._good_at is None else self._clock.seconds() - self._good_at,
            last_error=self._last_error,
        )

    def start(self) -> None:
        """Poll now, and repeat until `stop`."""
        self._next = None
        began = self._clock.seconds()
        self._polling = Deferred.fromCoroutine(self._poll())
        self._polling.addErrback(lambda failure: _log.failure("a poll failed by a bug", failure))
        self._polling.addCallback(lambda _: self._schedule(began))

    def stop(self) -> Deferred[None]:
        """Stop polling.

        Returns:
            A Deferred that fires when a running poll has been cancelled, and the source's sockets are closed.
        """
        self._is_stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._polling is not None:
            self._polling.cancel()
        return self._source.close()

    async def _poll(self) -> None:
        try:
            snapshot = await self._source.read()
        except DiscoveryReplyRejected as error:
            if not self._is_stopped:
                self._reject(error)
        except CancelledError:
            if not self._is_stopped:
                raise
        else:
            if not self._is_stopped:
                self._accept(snapshot)

    def _accept(self, snapshot: Snapshot) -> None:
        before = self._polls, self._accepted, self._good_at, self._last_error
        # Counted before the list is passed on, because code that waits for the list may read `status`.
        self._polls += 1
        self._accepted += 1
        self._good_at, self._last_error = self._clock.seconds(), ""
        self._note_bad_rows(snapshot)
        try:
            self._on_snapshot(snapshot)
        except BaseException as error:  # noqa: BLE001  a bug, or a raising signal handler: polling continues
            contain(self._clock.callLater, "{service}: a list of instances could not be applied", service=self._service)
            self._polls, self._accepted, self._good_at, self._last_error = before
            why = f"the list could not be applied: {type(error).__name__}: {text_of(error)}"
            self._reject(DiscoveryReplyRejected(RejectReason.NOT_APPLIED, why))
            return
        if before[-1]:
            self._logged_rejection = None
            _log.info(
                "{service}: discovery works again: {n} instances", service=self._service, n=len(snapshot.instances)
            )

    def _note_bad_rows(self, snapshot: Snapshot) -> None:
        """Count the dropped rows, and log the first dropped row of each fault."""
        self._bad_rows.update(snapshot.bad_rows)
        for fault, count in snapshot.bad_rows.items():
            if fault not in self._bad_row_examples:
                example = self._bad_row_examples[fault] = snapshot.examples.get(fault, "")
                _log.warn(
                    "{service}: {count} row(s) of the discovery reply dropped by {fault}, such as: {example}",
                    service=self._service,
                    count=count,
                    fault=fault,
                    example=example,
                )

    def _reject(self, error: DiscoveryReplyRejected) -> None:
        self._polls += 1
        self._rejections[error.reason.value] += 1
        self._last_error = str(error)
        self.advice = error.advice
        # Errors that differ only in their numbers are logged once: rows, ports and times are different in each poll.
        kind = (error.reason, getattr(error, "status", 0), _NUMBERS.sub("", self._last_error))
        if kind != self._logged_rejection:
            self._logged_rejection = kind
            _log.warn(
                "{service}: discovery reply rejected ({reason}), the list stays as it is: {error}",
                service=self._service,
                reason=error.reason.value,
                error=self._last_error,
            )
        self._on_rejected(error)

    def _schedule(self, began: float) -> None:
        if not self._is_stopped:
            self._next = self._clock.callLater(self._delay_s(began), self.start)

    def _delay_s(self, began: float) -> float:
        if self._good_at is None:
            delay_s, self._hurry_s = self._hurry_s, min(self._hurry_s * 2, self._interval_s)
            return min(delay_s, self._interval_s)
        interval_s = self._interval_s * (1.0 + self._jitter * (2.0 * self._rng.random() - 1.0))
        return max(0.0, began + interval_s - self._clock.seconds())
