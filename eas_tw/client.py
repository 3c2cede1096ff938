"""`PredictClient`: configuration in, Deferreds out. Wires the rooms below and nothing more."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from eas_tw.body.request import as_request
from eas_tw.config import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_FIXED,
    ENDPOINT_TYPE_VIPSERVER,
    ENDPOINT_TYPES,
    ClientConfig,
)
from eas_tw.errors import ClientClosed, ConfigError, DiscoveryError, NoInstances
from eas_tw.net.call import Call, Calls
from eas_tw.net.discovery import PATHS, DiscoveryStatus, Poller, UpstreamsSource, VipServerSource
from eas_tw.net.upstream import Pools, Upstream
from eas_tw.outgoing import (
    Envelope,
    check_content_type,
    check_endpoint,
    check_headers,
    check_service,
    check_token,
)
from eas_tw.policy.instances import BadRowError, Instance, checked_instance
from eas_tw.policy.retry import RetryBudget, RetryPolicy
from eas_tw.telemetry.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure
    from twisted.web.iweb import IAgent

    from eas_tw.net.discovery import Source
    from eas_tw.net.gateway import Gateway
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Snapshot

_ADDRESS_SERVER = "http://jmenv.tbsite.net:8080"
"""Where VIPServer's address server answers inside the vendor's clusters."""


class PredictClient:
    """Calls one service of PAI-EAS.

    Args:
        endpoint: The region's VPC endpoint for direct connections, such as
            `http://pai-eas-vpc.cn-shanghai.aliyuncs.com`; the gateway's address for the default type; a domain, or the URL
            of an address server, for VIPServer.
        service_name: `service` or `group/service`.
        custom_url: The whole URL that answers predictions, instead of endpoint and service; takes the token as it is.
        token: The service's token; empty for none.
        endpoint_type: `ENDPOINT_TYPE_DEFAULT` (gateway), `_DIRECT`, `_VIPSERVER` or `_FIXED`.
        instances: The list for `ENDPOINT_TYPE_FIXED`; giving it implies that type.
        reactor: Whose time and network to use; the global one when not given.
        config: The knobs.
        agent: Another way to reach the control plane and the gateway, such as a proxy.

    Raises:
        ConfigError: An argument is wrong.
    """

    log = Logger(namespace="eas_tw.client")

    def __init__(
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: str = "",
        endpoint_type: str | None = None,
        instances: Iterable[Instance | tuple[str, int] | tuple[str, int, float]] | None = None,
        reactor: Any = None,
        config: ClientConfig | None = None,
        agent: IAgent | None = None,
    ) -> None:
        self._reactor: Reactor = reactor if reactor is not None else _global_reactor()
        self._config = config or ClientConfig()
        self._agent = agent
        self._rng = Random(self._config.seed)  # noqa: S311  spreading load, not secrets
        self._custom_url = custom_url
        self._fixed = tuple(map(_instance, instances)) if instances is not None else ()
        self._endpoint = self._service = ""
        self._endpoint_type = ENDPOINT_TYPE_FIXED if instances is not None else ENDPOINT_TYPE_DEFAULT
        self._envelope = Envelope(self._reactor.seconds)
        self._envelope.plain = self._config.auth == "token"
        self._attempts = self._config.attempts
        self._timeout_s = self._config.timeout_s
        self.counters = Counters()
        self._pools: Pools | None = None
        self._budget = RetryBudget(self._config.retry_budget_ratio, self._config.retry_budget_min_per_s)
        self._calls: Calls | None = None
        self._fleet: Upstream | Gateway | None = None
        self._poller: Poller | None = None
        self._waiters: list[Deferred[PredictClient]] = []
        self._family: list[PredictClient] = [self]
        self._closing: Deferred[None] | None = None
        if endpoint:
            self.set_endpoint(endpoint)
        if service_name:
            self.set_service_name(service_name)
        if endpoint_type is not None:
            self.set_endpoint_type(endpoint_type)
        self.set_token(token)

    def __repr__(self) -> str:
        state = "closed" if self._closing else "ready" if self.is_ready else "waiting" if self._fleet else "new"
        where = self._custom_url or self._endpoint
        return (
            f"<PredictClient {self._service or '?'} at {where or '?'} {self._endpoint_type.lower()} {state} "
            f"instances={len(self.instances)}>"
        )

    async def __aenter__(self) -> PredictClient:
        try:
            return await self.init()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- the official SDK's setters

    def set_endpoint(self, endpoint: str) -> None:
        """Set the endpoint; before `init`."""
        self._before_init("endpoint")
        self._endpoint = str(endpoint)
        check_endpoint(endpoint)

    def set_service_name(self, service_name: str) -> None:
        """Set the service; before `init`."""
        self._before_init("service_name")
        self._service = check_service(service_name)

    def set_endpoint_type(self, endpoint_type: str) -> None:
        """Set the endpoint type; before `init`."""
        self._before_init("endpoint_type")
        if endpoint_type not in ENDPOINT_TYPES:
            raise ConfigError(f"endpoint_type must be one of {', '.join(ENDPOINT_TYPES)}, got {endpoint_type!r}")
        self._endpoint_type = endpoint_type

    def set_token(self, token: str) -> None:
        """Set the token; applies to the next call."""
        self._envelope.token = check_token(token)

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of requests; applies to the next call."""
        self._envelope.content_type = check_content_type(content_type)

    def add_extra_headers(self, headers: Mapping[str, str]) -> None:
        """Send these headers with every request from now on; a name given before is replaced."""
        self._envelope.extra_headers = {**self._envelope.extra_headers, **check_headers(headers)}

    def set_retry_count(self, count: int) -> None:
        """Set how many attempts a call may take, ≥ 1; before `init`."""
        self._before_init("retry_count")
        self._config = self._config.but(attempts=count)

    def set_max_connection_count(self, count: int) -> None:
        """Set the most connections to one instance, ≥ 1; before `init`."""
        self._before_init("max_connection_count")
        self._config = self._config.but(max_connections_per_instance=count)

    def set_timeout(self, timeout_ms: float) -> None:
        """Set the deadline of calls in **milliseconds**, as the official SDK has it; applies to the next call."""
        self._config = self._config.but(timeout_s=timeout_ms / 1000)
        self._timeout_s = self._config.timeout_s

    # -- life

    def init(self) -> Deferred[PredictClient]:
        """Start discovery.

        Returns:
            Fires with the client once the first good list is in the cache; at once for the gateway and a fixed list, and when it
            is there already. Fails with `DiscoveryError` after `init_timeout_s` (polling goes on, and `init` may
            be called again), with `ConfigError` or with `ClientClosed`.
        """
        if self._closing is not None:
            return fail(ClientClosed("the client is closed; make a new one"))
        try:
            if self._fleet is None:
                self._open()
        except ConfigError:
            return fail()
        return succeed(self) if self.is_ready else self._wait()

    def close(self) -> Deferred[None]:
        """Take no more calls, let those in flight finish within `drain_timeout_s`, then cancel them; stop discovery.

        Returns:
            Fires when every socket has reported its loss. Closing twice is fine. A client closes its children.
        """
        if self._closing is None:
            self._closing = Deferred.fromCoroutine(self._close())
            self._closing.addErrback(lambda failure: self.log.failure("closing failed by a bug", failure))
        return _tell(self._closing)

    destroy = close

    def child(self, service_name: str, *, token: str = "") -> PredictClient:
        """A client of another service at the same endpoint, with the same settings and the same connections.

        Returns:
            The client; it wants its own `init`, and may be closed by itself.
        """
        child = PredictClient(
            self._endpoint,
            service_name,
            token=token,
            endpoint_type=self._endpoint_type,
            reactor=self._reactor,
            config=self._config,
            agent=self._agent,
        )
        child._fixed = self._fixed
        child._pools = self._shared_pools()
        child._budget = self._budget
        child.counters = self.counters
        self._family.append(child)
        return child

    # -- work

    def predict(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        path: str = "",
        query: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[Any]:
        """Call the service.

        Args:
            request: A request of this package, `str`, `bytes` or any buffer, or any object with `to_string()` and
                `parse_response(bytes)`, such as those of the official SDK.
            timeout_s: The call's one deadline in seconds, > 0; `None` for the client's.
            path: Below the service's path, percent-encoded.
            query: Fields, or an encoded query.
            headers: Of this call only.

        Returns:
            Fires with the response. Fails with a `RequestFailed` (`DeadlineExceeded`, `StatusError`, `ConnectionFailed`,
            `Overloaded`, `ProtocolViolation`) that has the attempts; with `BodyError` for what cannot be encoded or
            parsed; with `ConfigError`, `NoInstances` or `ClientClosed` before anything is sent. Cancelling it closes its
            connection.
        """
        fleet = self._fleet
        try:
            if fleet is None or self._closing is not None:
                raise self._unusable()
            if timeout_s is None:
                timeout_s = self._timeout_s
            elif not timeout_s > 0:
                raise ConfigError(f"timeout_s must be a number > 0, got {timeout_s!r}")
            request = as_request(request)
            sealed = self._envelope.seal(request.to_string(), path, query, headers)
        except Exception:  # noqa: BLE001  a Deferred has one way to fail
            return fail()
        return Call(
            self._own_calls(),
            fleet,
            sealed,
            request.parse_response,
            timeout_s=timeout_s,
            attempt_timeout_s=self._config.attempt_timeout_s,
        ).start()

    # -- what it shows

    @property
    def is_ready(self) -> bool:
        """Whether calls have somewhere to go."""
        return bool(self.instances) if isinstance(self._fleet, Upstream) else self._fleet is not None

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances in the cache; empty for the gateway."""
        return self._fleet.instances if isinstance(self._fleet, Upstream) else ()

    @property
    def ejected(self) -> tuple[Instance, ...]:
        """The instances that get no calls for a while because they failed."""
        if not isinstance(self._fleet, Upstream):
            return ()
        out = set(self._fleet.ejected)
        return tuple(instance for instance in self.instances if instance.key in out)

    @property
    def discovery(self) -> DiscoveryStatus:
        """The account of discovery: polls, age of the list, rejections by reason."""
        return self._poller.status if self._poller else DiscoveryStatus()

    @property
    def config(self) -> ClientConfig:
        """The settings in force."""
        return self._config

    def connections(self, instance: Instance) -> int:
        """Established connections to an instance."""
        return self._pools.connections(instance.key) if self._pools else 0

    # -- how it is wired

    def _open(self) -> None:
        """Build what the endpoint type needs."""
        if self._custom_url:
            self._open_gateway(check_endpoint(self._custom_url), custom=True)
            return
        check_service(self._service)
        self._envelope.address(f"/api/predict/{self._service}")
        if self._endpoint_type == ENDPOINT_TYPE_DEFAULT:
            self._open_gateway(check_endpoint(self._endpoint), custom=False)
            return
        upstream = Upstream(self._shared_pools(), self._config, counters=self.counters, rng=self._stream("rotation"))
        if self._endpoint_type == ENDPOINT_TYPE_FIXED:
            if not any(instance.weight > 0 for instance in self._fixed):
                raise ConfigError("instances must name at least one instance with a weight above 0")
            upstream.apply(self._fixed)
        else:
            self._poller = self._make_poller()
        self._fleet = upstream
        if self._poller is not None:
            self._poller.start()

    def _open_gateway(self, url: str, *, custom: bool) -> None:
        origin, _, path = url.removeprefix("https://").removeprefix("http://").partition("/")
        prefix = f"/{path}" if path else ""
        if custom:
            self._envelope.plain = True
            self._envelope.address(prefix or "/")
        else:
            self._envelope.address(f"{prefix}/api/predict/{self._service}")
        scheme = url.partition("://")[0]
        # Imported here: direct connections do not pay for it.
        from eas_tw.net.gateway import Gateway  # noqa: PLC0415

        self._fleet = Gateway(self._reactor, f"{scheme}://{origin}", self._config, self._agent)

    def _make_poller(self) -> Poller:
        return Poller(
            self._reactor,
            self._make_source(),
            on_snapshot=self._got_list,
            on_refused=lambda _: None,
            interval_s=self._config.poll_interval_s,
            jitter=self._config.poll_jitter,
            rng=self._stream("poll"),
        )

    def _make_source(self) -> Source:
        # Imported here: treq and what it needs cost as much as the rest of eas_tw together.
        from eas_tw.net.fetch import Fetcher  # noqa: PLC0415

        config = self._config
        fetcher = Fetcher(
            self._reactor,
            timeout_s=config.discovery_timeout_s,
            max_bytes=config.max_discovery_bytes,
            agent=self._agent,
        )
        endpoint = check_endpoint(self._endpoint)
        name = self._service.partition("/")[0]
        if self._endpoint_type == ENDPOINT_TYPE_VIPSERVER:
            is_url = "://" in self._endpoint or ":" in self._endpoint
            server, domain = (endpoint, name) if is_url else (_ADDRESS_SERVER, self._endpoint)
            return VipServerSource(fetcher, server, domain, self._stream("vipserver"))
        paths = (config.discovery_path,) if config.discovery_path else PATHS
        inside = "NAMESPACE" in os.environ and "POD_NAME" in os.environ
        return UpstreamsSource(fetcher, endpoint, name, paths=paths, inside=inside)

    def _stream(self, name: str) -> Random:
        """One stream of chance per purpose, so that one draw more here changes nothing there."""
        seed = self._config.seed
        return Random(f"{seed}/{self._service}/{name}" if seed is not None else None)  # noqa: S311

    def _shared_pools(self) -> Pools:
        if self._pools is None:
            self._pools = Pools(self._reactor, self._config)
        return self._pools

    def _own_calls(self) -> Calls:
        if self._calls is None:
            config = self._config
            policy = RetryPolicy(config.attempts, config.retry_on, config.backoff_base_s, config.backoff_max_s)
            self._calls = Calls(self._reactor, policy, self._budget, rng=self._stream("retry"), counters=self.counters)
        return self._calls

    def _got_list(self, snapshot: Snapshot) -> None:
        if isinstance(self._fleet, Upstream):
            self._fleet.apply(snapshot.instances)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self)

    def _wait(self) -> Deferred[PredictClient]:
        waiter: Deferred[PredictClient] = Deferred(self._forget)
        self._waiters.append(waiter)
        timeout_s = self._config.init_timeout_s
        if timeout_s is not None:
            timer = self._reactor.callLater(timeout_s, self._init_timed_out, waiter, timeout_s)
            waiter.addBoth(_cancelling, timer)
        return waiter

    def _forget(self, waiter: Deferred[PredictClient]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def _init_timed_out(self, waiter: Deferred[PredictClient], timeout_s: float) -> None:
        self._forget(waiter)
        status = self.discovery
        why = status.last_error or "the control plane has not answered yet"
        waiter.errback(
            DiscoveryError(
                f"no usable list of instances of {self._service} from {self._endpoint} within {timeout_s:g} s "
                f"and {status.polls} polls; the last: {why}"
            )
        )

    def _before_init(self, what: str) -> None:
        if self._fleet is not None:
            raise ConfigError(f"{what} must be set before init()")

    def _unusable(self) -> Exception:
        if self._closing is not None:
            return ClientClosed("the client is closed")
        return NoInstances("init() has not been called: call it, and wait for it, before the first predict()")

    async def _close(self) -> None:
        if self._poller is not None:
            await self._poller.stop()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(ClientClosed("the client was closed before the first list came"))
        for child in self._family[1:]:
            await child.close()
        if self._calls is not None:
            await self._calls.drain(self._config.drain_timeout_s, ClientClosed("the client was closed during the call"))
        if isinstance(self._fleet, Upstream):
            self._fleet.leave()
            await self._shared_pools().when_gone()
        elif self._fleet is not None:
            await self._fleet.close()


def _instance(given: Instance | tuple[str, int] | tuple[str, int, float]) -> Instance:
    """An instance of a fixed list, checked like a row of discovery."""
    ip, port, weight = (*given, 1)[:3]
    try:
        return checked_instance({"ip": ip, "port": port, "weight": weight})
    except BadRowError as error:
        raise ConfigError(f"instances: {error} in {given!r}") from None


def _tell(event: Deferred[None]) -> Deferred[None]:
    """A Deferred of one's own for an event that several wait for."""
    own: Deferred[None] = Deferred()
    event.addCallback(lambda _: None if own.called else own.callback(None))
    return own


def _cancelling(result: PredictClient | Failure, timer: IDelayedCall) -> PredictClient | Failure:
    """Pass a result on, and cancel the timer that was to prevent an endless wait for it."""
    if timer.active():
        timer.cancel()
    return result


def _global_reactor() -> Reactor:
    """The program's reactor, asked for only when none was given."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251

    return reactor  # type: ignore[return-value]
