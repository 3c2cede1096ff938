"""Where calls go: which service, at which endpoint, reached how.

The value behind the setters, and the one place that knows what each endpoint type means: which path requests have, who
is asked for the list of instances, and which address is the gateway's.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import field, frozen

from eas_tw.config import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_FIXED,
    ENDPOINT_TYPE_VIPSERVER,
    ENDPOINT_TYPES,
    ClientConfig,
)
from eas_tw.display import shown
from eas_tw.errors import ConfigError
from eas_tw.net.discovery import PATHS, UpstreamsSource, VipServerSource
from eas_tw.policy.instances import BadRowError, Instance, checked_instance
from eas_tw.request_builder import check_endpoint, check_service

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from twisted.web.iweb import IAgent

    from eas_tw.net.discovery import Fetcher, Source
    from eas_tw.net.pool import Reactor

_ADDRESS_SERVER = "http://jmenv.tbsite.net:8080"
"""Where VIPServer's address server answers inside the vendor's clusters."""

Destination = tuple[str, str, str]
"""Endpoint type, endpoint and service: equal for two clients that call the same service."""

GivenInstance = Instance | tuple[str, int] | tuple[str, int, float]


def _or_empty(value: Any) -> Any:
    """`None`, as a variable of the environment may be, is a part that is not set."""
    return "" if value is None else value


@frozen
class ClientTarget:
    """One service and the way to it; a part that is not set yet is empty.

    Attributes:
        endpoint: As the user wrote it.
        service: `service` or `group/service`.
        custom_url: The whole URL that answers predictions, instead of endpoint and service.
        endpoint_type: One of `ENDPOINT_TYPES`.
        instances: The list of `ENDPOINT_TYPE_FIXED`.
    """

    endpoint: str = field(default="", converter=_or_empty)
    service: str = field(default="", converter=_or_empty)
    custom_url: str = field(default="", converter=_or_empty)
    endpoint_type: str = ENDPOINT_TYPE_DEFAULT
    instances: tuple[Instance, ...] = ()

    def __attrs_post_init__(self) -> None:
        for name in ("endpoint", "service", "custom_url", "endpoint_type"):
            value = getattr(self, name)
            if not isinstance(value, str):
                label = "service_name" if name == "service" else name
                raise ConfigError(f"{label} must be a string, got {shown(value)}")
        for what, url in (("endpoint", self.endpoint), ("custom_url", self.custom_url)):
            if url:
                check_endpoint(url, what)
        if self.service:
            check_service(self.service)
        if self.endpoint_type not in ENDPOINT_TYPES:
            raise ConfigError(
                f"endpoint_type must be one of {', '.join(ENDPOINT_TYPES)}, got {shown(self.endpoint_type)}"
            )

    def check_complete(self) -> None:
        """Raise a `ConfigError` if something is missing to reach the service."""
        self._check_https()
        if self.custom_url:
            return
        if not self.service:
            raise ConfigError('service_name is not set: give it as in PredictClient(endpoint, "my_service")')
        if self.endpoint_type == ENDPOINT_TYPE_FIXED:
            if not any(instance.weight > 0 for instance in self.instances):
                raise ConfigError("instances must name at least one instance with a weight above 0")
        elif not self.endpoint:
            raise ConfigError("endpoint is not set: give the region's VPC endpoint, or the gateway's address")

    def _check_https(self) -> None:
        """Said here: deep below, Twisted has no TLS but in the words of a connection that failed."""
        asked = self.custom_url or self.endpoint
        if asked.lower().startswith("https:") and find_spec("OpenSSL") is None:
            raise ConfigError(f"{asked} needs pyOpenSSL: pip install 'eas-tw[tls]'")

    @property
    def is_gateway(self) -> bool:
        """Whether one address answers all calls, and there is no list of instances."""
        return bool(self.custom_url) or self.endpoint_type == ENDPOINT_TYPE_DEFAULT

    @property
    def destination(self) -> Destination:
        """Which service this is, however its endpoint was written; a custom URL stands for endpoint and service."""
        if self.custom_url:
            return "", self.custom_url, ""
        return self.endpoint_type, check_endpoint(self.endpoint) if self.endpoint else "", self.service

    @property
    def path(self) -> str:
        """The path of the service's requests."""
        if self.custom_url:
            return urlsplit(check_endpoint(self.custom_url)).path or "/"
        prefix = urlsplit(check_endpoint(self.endpoint)).path if self.is_gateway else ""
        return f"{prefix}/api/predict/{self.service}"

    @property
    def gateway_url(self) -> str:
        """Scheme and authority of the gateway."""
        parts = urlsplit(check_endpoint(self.custom_url or self.endpoint))
        return f"{parts.scheme}://{parts.netloc}"

    def make_source(self, reactor: Reactor, config: ClientConfig, rng: Random, agent: IAgent | None) -> Source | None:
        """Who is asked for the list of instances; `None` for a fixed list."""
        if self.endpoint_type == ENDPOINT_TYPE_FIXED:
            return None
        fetcher = _fetcher(reactor, config, agent)
        name = self.service.partition("/")[0]
        if self.endpoint_type == ENDPOINT_TYPE_VIPSERVER:
            server, domain = self._vipserver(name)
            return VipServerSource(reactor, fetcher, server, domain, rng)
        paths = (config.discovery_path,) if config.discovery_path else PATHS
        inside = "NAMESPACE" in os.environ and "POD_NAME" in os.environ
        return UpstreamsSource(reactor, fetcher, check_endpoint(self.endpoint), name, paths=paths, inside=inside)

    def _vipserver(self, service: str) -> tuple[str, str]:
        """Address server and domain: the endpoint is a domain, or the URL of an address server that knows services."""
        if "://" in self.endpoint or ":" in self.endpoint:
            return check_endpoint(self.endpoint), service
        return _ADDRESS_SERVER, self.endpoint


def _fetcher(reactor: Reactor, config: ClientConfig, agent: IAgent | None) -> Fetcher:
    # Imported here: each costs a program that does without it milliseconds, treq as much as the rest of eas_tw.
    if agent is None:
        from eas_tw.net.fetch import DirectFetcher  # noqa: PLC0415

        return DirectFetcher(reactor, config)
    from eas_tw.net.agent_fetch import AgentFetcher  # noqa: PLC0415

    timeout_s, max_bytes = config.discovery_timeout_s, config.max_discovery_bytes
    return AgentFetcher(reactor, agent, timeout_s=timeout_s, max_bytes=max_bytes)


def fixed_list(given: Iterable[GivenInstance]) -> tuple[Instance, ...]:
    """Instances of a fixed list, checked like rows of discovery."""
    try:
        rows = tuple(given)
    except TypeError:
        raise ConfigError(f"instances must be a list of (ip, port) or (ip, port, weight), got {shown(given)}") from None
    return tuple(map(_fixed_instance, rows))


def _fixed_instance(given: GivenInstance) -> Instance:
    try:
        ip, port, weight = (*given, 1)[:3]
        return checked_instance({"ip": ip, "port": port, "weight": weight})
    except (BadRowError, TypeError, ValueError) as error:
        raise ConfigError(f"instances: {error} in {shown(given)}; a row is (ip, port) or (ip, port, weight)") from None
