"""What a program told a client, remembered: for fronts whose client is made later than its settings, or made again.

A blocking client is made anew in a forked child, an asyncio client when a loop runs. Every setting is checked at once,
on a client that is thrown away if need be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock

from eas_tw import ClientConfig, PredictClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.web.iweb import IAgent


class Told:
    """Arguments and setters of `eas_tw.PredictClient`, but for the reactor. They raise `ConfigError`, as there.

    A front inherits the setters, and says in `_tell` which client must hear of them now.
    """

    def __init__(
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: str = "",
        endpoint_type: str | None = None,
        instances: Iterable[Any] | None = None,
        config: ClientConfig | None = None,
        agent: IAgent | None = None,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "endpoint": endpoint,
            "service_name": service_name,
            "custom_url": custom_url,
            "token": token,
            "endpoint_type": endpoint_type,
            "instances": None if instances is None else tuple(instances),
            "config": config,
            "agent": agent,
        }
        self._said: list[tuple[str, tuple[Any, ...]]] = []
        self._make(Clock())

    def set_endpoint(self, endpoint: str) -> None:
        """Set the endpoint; before `init`."""
        self._say("set_endpoint", endpoint)

    def set_service_name(self, service_name: str) -> None:
        """Set the service; before `init`."""
        self._say("set_service_name", service_name)

    def set_endpoint_type(self, endpoint_type: str) -> None:
        """Set the endpoint type; before `init`."""
        self._say("set_endpoint_type", endpoint_type)

    def set_token(self, token: str) -> None:
        """Set the token; applies to the next call."""
        self._say("set_token", token)

    def set_content_type(self, content_type: str) -> None:
        """Set the Content-Type of requests; applies to the next call."""
        self._say("set_content_type", content_type)

    def add_extra_headers(self, headers: Mapping[str, str]) -> None:
        """Send these headers with every request from now on."""
        self._say("add_extra_headers", dict(headers))

    def set_retry_count(self, count: int) -> None:
        """Set how many attempts a call may take, ≥ 1; before `init`."""
        self._say("set_retry_count", count)

    def set_max_connection_count(self, count: int) -> None:
        """Set the most connections to one instance, ≥ 1; before `init`."""
        self._say("set_max_connection_count", count)

    def set_timeout(self, timeout: float) -> None:
        """Set the deadline of calls in **milliseconds**; applies to the next call."""
        self._say("set_timeout", timeout)

    def _make(self, reactor: Any) -> PredictClient:
        """A client on this reactor, told everything so far."""
        client = PredictClient(**self._arguments, reactor=reactor)
        for what, arguments in self._said:
            getattr(client, what)(*arguments)
        return client

    def _tell(self) -> PredictClient:
        """The client that must hear of a setting now."""
        return self._make(Clock())

    def _say(self, what: str, *arguments: Any) -> None:
        getattr(self._tell(), what)(*arguments)
        self._said.append((what, arguments))
