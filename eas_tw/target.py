"""`ClientTarget`, the service and endpoint of a client, and the meaning of each endpoint type.

This module determines the path of requests, the source of the list of instances, and the gateway's address. No other
module interprets `endpoint_type`.
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
from eas_tw.ranges import plain
from eas_tw.request_builder import check_endpoint, check_service

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from twisted.web.iweb import IAgent

    from eas_tw.net.discovery import Fetcher, Source
    from eas_tw.net.pool import Reactor

_ADDRESS_SERVER = "http://jmenv.tbsite.net:8080"
"""The URL of VIPServer's address server inside the vendor's clusters."""

Destination = tuple[str, str, str]
"""A tuple of endpoint type, endpoint and service; two clients of the same service have equal tuples."""

GivenInstance = Instance | tuple[str, int] | tuple[str, int, float]


def _or_empty(value: Any) -> Any:
    """Convert `None`, as returned by `os.environ.get`, to the empty string, which means "not set"."""
    return "" if value is None else value


@frozen
class ClientTarget:
    """A service and its endpoint; attributes that are not set are empty.

    Attributes:
        endpoint: The endpoint as passed by the program.
        service: `service` or `group/service`.
        custom_url: The complete URL for predictions, instead of endpoint and service.
        endpoint_type: One of `ENDPOINT_TYPES`.
        instances: The instances for `ENDPOINT_TYPE_FIXED`.
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
        self._check_is_no_service()
        if self.service:
            check_service(self.service)
        if self.endpoint_type not in ENDPOINT_TYPES:
            raise ConfigError(
                f"endpoint_type must be one of {', '.join(ENDPOINT_TYPES)}, got {shown(self.endpoint_type)}"
            )

    def _check_is_no_service(self) -> None:
        """Raise `ConfigError` if the endpoint is the complete URL of a service, which the console shows."""
        if not self.endpoint:
            return
        before, found, service = check_endpoint(self.endpoint).partition("/api/predict/")
        if found and service:
            raise ConfigError(
                f"endpoint must not be the URL of a service: give {before} as the endpoint, and {service} as the "
                "service's name; or the whole URL as custom_url"
            )

    def check_complete(self) -> None:
        """Check that all settings that are needed to reach the service are set.

        Raises:
            ConfigError: A setting is missing, or https is used without pyOpenSSL.
        """
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
        """Check for pyOpenSSL if https is used; Twisted would report the missing package as a failed connection."""
        asked = self.custom_url or self.endpoint
        if asked.lower().startswith("https:") and find_spec("OpenSSL") is None:
            raise ConfigError(f"{asked} needs pyOpenSSL: pip install 'eas-tw[tls]'")

    @property
    def is_gateway(self) -> bool:
        """Whether all calls go to one address, so that there is no list of instances."""
        return bool(self.custom_url) or self.endpoint_type == ENDPOINT_TYPE_DEFAULT

    @property
    def destination(self) -> Destination:
        """The key for shared retry budgets: endpoint type, normalized endpoint and service; or the custom URL alone."""
        if self.custom_url:
            return "", self.custom_url, ""
        return self.endpoint_type, check_endpoint(self.endpoint) if self.endpoint else "", self.service

    @property
    def path(self) -> str:
        """The path of requests to the service."""
        if self.custom_url:
            return urlsplit(check_endpoint(self.custom_url)).path or "/"
        prefix = urlsplit(check_endpoint(self.endpoint)).path if self.is_gateway else ""
        return f"{prefix}/api/predict/{self.service}"

    @property
    def gateway_url(self) -> str:
        """The gateway's URL without a path."""
        parts = urlsplit(check_endpoint(self.custom_url or self.endpoint))
        return f"{parts.scheme}://{parts.netloc}"

    def make_source(self, reactor: Reactor, config: ClientConfig, rng: Random, agent: IAgent | None) -> Source | None:
        """Create the source of the list of instances.

        Returns:
            1. A `VipServerSource` for `ENDPOINT_TYPE_VIPSERVER`.
            2. `None` for a fixed list.
            3. An `UpstreamsSource`, which requests the list from the control plane, otherwise.
        """
        if self.endpoint_type == ENDPOINT_TYPE_FIXED:
            return None
        fetcher = _fetcher(reactor, config, agent)
        name = self.service.partition("/")[0]
        if self.endpoint_type == ENDPOINT_TYPE_VIPSERVER:
            server, domain = self._vipserver(name)
            return VipServerSource(reactor, fetcher, server, domain, rng)
        paths = (config.discovery_path,) if config.discovery_path else PATHS
        # Both variables are set in containers of EAS, where discovery requests have the query `internal=true`.
        inside = "NAMESPACE" in os.environ and "POD_NAME" in os.environ
        return UpstreamsSource(reactor, fetcher, check_endpoint(self.endpoint), name, paths=paths, inside=inside)

    def _vipserver(self, service: str) -> tuple[str, str]:
        """Return the address server's URL and the domain to look up.

        Returns:
            1. The endpoint and the service's name, if the endpoint is a URL. The URL is that of an address server, such
               as a proxy or a test server.
            2. The clusters' address server and the endpoint, which is a domain, otherwise.
        """
        if "://" in self.endpoint or ":" in self.endpoint:
            return check_endpoint(self.endpoint), service
        return _ADDRESS_SERVER, self.endpoint


def _fetcher(reactor: Reactor, config: ClientConfig, agent: IAgent | None) -> Fetcher:
    # The modules are imported on use, because each import takes milliseconds (`agent_fetch` imports Twisted's client).
    if agent is None:
        from eas_tw.net.fetch import DirectFetcher  # noqa: PLC0415

        return DirectFetcher(reactor, config)
    from eas_tw.net.agent_fetch import AgentFetcher  # noqa: PLC0415

    timeout_s, max_bytes = config.discovery_timeout_s, config.max_discovery_bytes
    return AgentFetcher(reactor, agent, timeout_s=timeout_s, max_bytes=max_bytes)


def fixed_list(given: Iterable[GivenInstance]) -> tuple[Instance, ...]:
    """Check the instances of a fixed list, by the same rules as the rows of a discovery reply.

    Raises:
        ConfigError: `given` is not a list, or an instance is not valid.
    """
    try:
        rows = tuple(given)
    except TypeError:
        raise ConfigError(f"instances must be a list of (ip, port) or (ip, port, weight), got {shown(given)}") from None
    return tuple(map(_fixed_instance, rows))


def _fixed_instance(given: GivenInstance) -> Instance:
    if isinstance(given, str | bytes):  # otherwise the text would be unpacked into characters
        raise ConfigError(f"instances: a row is (ip, port) or (ip, port, weight), got {shown(given)}")
    try:
        ip, port, weight = (*given, 1)[:3]
        return checked_instance({"ip": ip, "port": plain(port), "weight": plain(weight)})
    except (BadRowError, TypeError, ValueError) as error:
        raise ConfigError(f"instances: {error} in {shown(given)}; a row is (ip, port) or (ip, port, weight)") from None
