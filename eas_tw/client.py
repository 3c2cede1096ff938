"""`PredictClient`: configuration in, Deferreds out. Wires the rooms below and nothing more."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Self

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from eas_tw.body.request import as_request
from eas_tw.config import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_FIXED, ClientConfig
from eas_tw.errors import ClientClosed, ConfigError, DiscoveryError, NoInstances
from eas_tw.net.call import Call, Calls
from eas_tw.net.discovery import DiscoveryStatus, Poller
from eas_tw.net.upstream import Pools, Upstream
from eas_tw.net.waiting import WaitingRoom
from eas_tw.outgoing import Envelope
from eas_tw.policy.hedging import Hedging
from eas_tw.policy.retry import RetryBudget, RetryPolicy
from eas_tw.target import Target, fixed_list
from eas_tw.telemetry.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from twisted.web.iweb import IAgent

    from eas_tw.net.gateway import Gateway
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Instance, Snapshot
    from eas_tw.target import GivenInstance

_log = Logger(namespace="eas_tw.client")


class PredictClient:
    """Calls one service of PAI-EAS.

    Args:
        endpoint: The region's VPC endpoint for direct connections, such as
            `http://pai-eas-vpc.cn-shanghai.aliyuncs.com`; the gateway's address for the default type; a domain, or the
            URL of an address server, for VIPServer.
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

    def __init__(  # noqa: PLR0913  the contract's constructor; all but three are keywords
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: str = "",
        endpoint_type: str | None = None,
        instances: Iterable[GivenInstance] | None = None,
        reactor: Any = None,
        config: ClientConfig | None = None,
        agent: IAgent | None = None,
    ) -> None:
        kind = endpoint_type or (ENDPOINT_TYPE_DEFAULT if instances is None else ENDPOINT_TYPE_FIXED)
        self._target = Target(endpoint, service_name, custom_url, kind, fixed_list(instances or ()))
        self._reactor: Reactor = reactor if reactor is not None else _global_reactor()
        self._config = config or ClientConfig()
        self._agent = agent
        self._envelope = Envelope(self._reactor.seconds)
        self.counters = Counters()
        self._budget = RetryBudget(self._config.retry_budget_ratio, self._config.retry_budget_min_per_s)
        self._pools: Pools | None = None
        self._calls: Calls | None = None
        self._fleet: Upstream | Gateway | None = None
        self._poller: Poller | None = None
        self._waiting = WaitingRoom(self._reactor)
        self._children: list[PredictClient] = []
        self._closing: Deferred[None] | None = None
        self.set_token(token)

    def __repr__(self) -> str:
        state = "closed" if self._closing else "ready" if self.is_ready else "waiting" if self._fleet else "new"
        target = self._target
        return (
            f"<PredictClient {target.service or '?'} at {target.custom_url or target.endpoint or '?'} "
            f"{target.endpoint_type.lower()} {state} instances={len(self.instances)}>"
        )

    async def __aenter__(self) -> Self:
        try:
            await self.init()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- the official SDK's setters

    def set_endpoint(self, endpoint: str) -> None:
        """Set the endpoint; before `init`."""
        self._aim("endpoint", endpoint=endpoint)

    def set_service_name(self, service_name: str) -> None:
        """Set the service; before `init`."""
        self._aim("service_name", service=service_name)

    def set_endpoint_type(self, endpoint_type: str) -> None:
        """Set the endpoint type; before `init`."""
        self._aim("endpoint_type", endpoint_type=endpoint_type)

    def set_token(self, token: str) -> None:
        """Set the token; applies to the next call."""
        self._envelope.set_token(token)

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of requests; applies to the next call."""
        self._envelope.set_content_type(content_type)

    def add_extra_headers(self, headers: Mapping[str, str]) -> None:
        """Send these headers with every request from now on; a name given before is replaced."""
        self._envelope.add_headers(headers)

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

    # -- life

    def init(self) -> Deferred[PredictClient]:
        """Start discovery.

        Returns:
            Fires with the client once the first good list is in the cache; at once for the gateway, a fixed list, and
            when the list is there already. Fails with `DiscoveryError` after `init_timeout_s` (polling goes on, and
            `init` may be called again), with `ConfigError`, or with `ClientClosed`.
        """
        return Deferred.fromCoroutine(self._init())

    def close(self) -> Deferred[None]:
        """Take no more calls, let those in flight finish within `drain_timeout_s`, then cancel them; stop discovery.

        Returns:
            Fires when every socket has reported its loss. Closing twice is fine. A client closes its children.
        """
        if self._closing is None:
            self._closing = Deferred.fromCoroutine(self._close())
            self._closing.addErrback(lambda failure: _log.failure("closing failed by a bug", failure))
        return _tell(self._closing)

    destroy = close

    def child(self, service_name: str, *, token: str = "") -> PredictClient:
        """A client of another service at the same endpoint, with the same settings, connections and retry budget.

        Returns:
            The client; it wants its own `init`, and may be closed by itself.
        """
        child = PredictClient(token=token, reactor=self._reactor, config=self._config, agent=self._agent)
        child._target = evolve(self._target, service=service_name)
        child._pools = self._shared_pools()
        child._budget = self._budget
        self._children.append(child)
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
        idempotent: bool = True,
    ) -> Deferred[Any]:
        """Call the service.

        Args:
            request: A request of this package, `str`, `bytes` or any buffer, or any object with `to_string()` and
                `parse_response(bytes)`, such as those of the official SDK.
            timeout_s: The call's one deadline in seconds, > 0; `None` for the client's.
            path: Below the service's path, percent-encoded.
            query: Fields, or an encoded query.
            headers: Of this call only.
            idempotent: Whether an instance may get the call although another already had it. Predictions usually are;
                if not, only attempts that provably never reached an instance are tried again.

        Returns:
            Fires with the response. Fails with a `RequestFailed` (`DeadlineExceeded`, `StatusError`,
            `ConnectionFailed`, `Overloaded`, `ProtocolViolation`) that has the attempts; with `BodyError` for what
            cannot be encoded or parsed; with `ConfigError`, `NoInstances` or `ClientClosed` before anything is sent.
            Cancelling it closes its connection.
        """
        calls, fleet = self._calls, self._fleet
        if calls is None or fleet is None or self._closing is not None:
            return fail(self._unusable())
        try:
            timeout_s = self._config.timeout_s if timeout_s is None else _checked_timeout(timeout_s)
            request = as_request(request)
            sealed = self._envelope.seal(request.to_string(), path, query, headers)
        except Exception:  # noqa: BLE001  whatever is wrong with a request, the Deferred says it
            return fail()
        finish = partial(_read, request)
        return Call(calls, fleet, sealed, finish, timeout_s, is_idempotent=idempotent).start()

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
        """Polls, age of the list, rejections by reason."""
        return self._poller.status if self._poller else DiscoveryStatus()

    @property
    def config(self) -> ClientConfig:
        """The settings in force."""
        return self._config

    def connections(self, instance: Instance) -> int:
        """Established connections to an instance."""
        return self._pools.connections(instance.key) if self._pools else 0

    # -- how it is wired

    async def _init(self) -> PredictClient:
        if self._closing is not None:
            raise ClientClosed("the client is closed; make a new one")
        if self._fleet is None:
            self._target.check_complete()
            self._open()
        if not self.is_ready:
            await self._waiting.wait(self._config.init_timeout_s, self._no_list)
        return self

    def _open(self) -> None:
        """Build what the endpoint type needs; everything before this only set values."""
        config, target = self._config, self._target
        self._envelope.address(target.path, plain=config.auth == "token" or bool(target.custom_url))
        policy = RetryPolicy(config.attempts, config.retry_on, config.backoff_base_s, config.backoff_max_s)
        self._calls = Calls(
            self._reactor,
            policy,
            self._budget,
            Hedging(config.hedge_after_s),
            attempt_timeout_s=config.attempt_timeout_s,
            rng=self._stream("retry"),
            counters=self.counters,
        )
        if target.is_gateway:
            # Imported here: direct connections do not pay for it.
            from eas_tw.net.gateway import Gateway  # noqa: PLC0415

            self._fleet = Gateway(self._reactor, target.gateway_url, config, self._agent)
        else:
            self._open_direct()

    def _open_direct(self) -> None:
        config, target = self._config, self._target
        source = target.make_source(self._reactor, config, self._stream("source"), self._agent)
        self._fleet = upstream = Upstream(
            self._reactor, self._shared_pools(), config, counters=self.counters, rng=self._stream("rotation")
        )
        if source is None:
            upstream.apply(target.instances)
            return
        self._poller = Poller(
            self._reactor,
            source,
            on_snapshot=self._got_list,
            interval_s=config.poll_interval_s,
            jitter=config.poll_jitter,
            rng=self._stream("poll"),
        )
        self._poller.start()

    def _shared_pools(self) -> Pools:
        """The connections, shared with the children."""
        if self._pools is None:
            self._pools = Pools(self._reactor, self._config)
        return self._pools

    def _stream(self, name: str) -> Random:
        """One stream of chance per purpose, so that one draw more here changes nothing there."""
        seed = self._config.seed
        return Random(None if seed is None else f"{seed}/{self._target.service}/{name}")  # noqa: S311

    def _got_list(self, snapshot: Snapshot) -> None:
        if isinstance(self._fleet, Upstream):
            self._fleet.apply(snapshot.instances)
        self._waiting.release()

    def _no_list(self) -> DiscoveryError:
        status, target = self.discovery, self._target
        why = status.last_error or "the control plane has not answered yet"
        return DiscoveryError(
            f"no usable list of instances of {target.service} from {target.endpoint} within "
            f"{self._config.init_timeout_s:g} s and {status.polls} polls; the last: {why}"
        )

    def _aim(self, what: str, **parts: Any) -> None:
        self._before_init(what)
        self._target = evolve(self._target, **parts)

    def _before_init(self, what: str) -> None:
        if self._fleet is not None:
            raise ConfigError(f"{what} must be set before init()")

    def _unusable(self) -> Exception:
        if self._closing is not None:
            return ClientClosed("the client is closed")
        return NoInstances("init() has not been called: call it, and wait for it, before the first predict()")

    async def _close(self) -> None:
        closed = ClientClosed("the client was closed")
        if self._poller is not None:
            await self._poller.stop()
        self._waiting.release(closed)
        for child in self._children:
            await child.close()
        if self._calls is not None:
            await self._calls.drain(self._config.drain_timeout_s, closed)
        if isinstance(self._fleet, Upstream):
            self._fleet.leave()
            await self._shared_pools().when_gone()
        elif self._fleet is not None:
            await self._fleet.close()


def _read(request: Any, _head: bytes, body: bytes) -> Any:
    """The answer to a request."""
    return request.parse_response(body)


def _checked_timeout(timeout_s: float) -> float:
    if isinstance(timeout_s, int | float) and 0 < timeout_s < float("inf"):
        return timeout_s
    raise ConfigError(f"timeout_s must be a number of seconds > 0, got {timeout_s!r}")


def _tell(event: Deferred[None]) -> Deferred[None]:
    """A Deferred of one's own for an event that several wait for."""
    own: Deferred[None] = Deferred()
    event.addCallback(lambda _: None if own.called else own.callback(None))
    return own


def _global_reactor() -> Reactor:
    """The program's reactor, asked for only when none was given."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251

    return reactor  # type: ignore[return-value]
