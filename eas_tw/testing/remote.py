"""A running simulator from outside, over its admin API; the standard library only, blocking.

What the thin clients of the command line and the pytest fixtures use. Knows neither Twisted nor a reactor.
"""

from __future__ import annotations

import http.client
import json
import warnings
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_URL = "http://127.0.0.1:8780"
TIMEOUT_S = 30.0
_REFUSED = 400
_MANY = 10


def shortened(names: Iterable[str]) -> str:
    """Join names with commas, at most ten of them."""
    found = list(names)
    return (", ".join(found[:_MANY]) or "none") + (f" and {len(found) - _MANY} more" if len(found) > _MANY else "")


class RemoteError(Exception):
    """The simulator refused; the text says what was wrong.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Unreachable(ConnectionError):
    """Nobody answers there."""


class Remote:
    """A running simulator.

    Args:
        url: Its endpoint, as its ready file has it: `http://127.0.0.1:8780`.
        tokens: Tokens of its services by name, where they are known; the admin API tells none.
    """

    def __init__(self, url: str = DEFAULT_URL, *, tokens: Mapping[str, str] | None = None) -> None:
        self.url = url.rstrip("/").removesuffix("/_eas")
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"url must look like {DEFAULT_URL}, got {url!r}")
        self.admin_url = f"{self.url}/_eas"
        self.tokens: dict[str, str] = dict(tokens or {})
        self._where = (parts.hostname, parts.port or 80)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def ask(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """One operation: `ask("GET", "/v1/requests", limit=5)`.

        Args:
            method: HTTP method.
            path: Below `/_eas`.
            body: JSON value; a write without one sends `{}`.
            query: Fields of the query; those that are `None` are left out.

        Raises:
            RemoteError: It was refused.
            Unreachable: Nobody answers.
        """
        given = urlencode({name: value for name, value in query.items() if value is not None})
        target = f"/_eas{path}{'?' if given else ''}{given}"
        data = None if method in ("GET", "DELETE") else json.dumps({} if body is None else body)
        connection = http.client.HTTPConnection(*self._where, timeout=TIMEOUT_S)
        try:
            connection.request(method, target, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no simulator answers at {self.url}: {error}") from error
        finally:
            connection.close()
        value = json.loads(text) if text else None
        if response.status >= _REFUSED:
            raise RemoteError(response.status, (value or {}).get("detail", f"status {response.status}"))
        return value

    # -- everything

    def state(self) -> Any:
        """Everything at a glance."""
        return self.ask("GET", "/v1/state")

    def reset(self, seed: int | None = None) -> int:
        """Back to the beginning; the seed."""
        return int(self.ask("POST", "/v1/reset", {} if seed is None else {"seed": seed})["seed"])

    # -- services and instances

    def services(self) -> Any:
        """All services, with their instances."""
        return self.ask("GET", "/v1/services")["services"]

    def instances(self) -> list[Any]:
        """All instances of all services."""
        return [instance for service in self.services() for instance in service["instances"]]

    def instance(self, instance_id: str) -> Any:
        """The instance of that id, of whichever service."""
        found = {instance["id"]: instance for instance in self.instances()}
        if instance_id not in found:
            raise RemoteError(404, f"no instance {instance_id!r}; there are {shortened(found)}")
        return found[instance_id]

    def change(self, instance_id: str, **changes: Any) -> Any:
        """Change `weight`, `state` or `registered` of an instance; in effect when this returns."""
        return self.ask("PATCH", self._path(instance_id), changes)

    def crash(self, instance_id: str) -> Any:
        """Reset its connections and refuse new ones."""
        return self.change(instance_id, state="crashed")

    def restart(self, instance_id: str) -> Any:
        """Run again, on the same address; also after `hang` and `drain`."""
        return self.change(instance_id, state="running")

    def hang(self, instance_id: str) -> Any:
        """Accept and say nothing."""
        return self.change(instance_id, state="hung")

    def drain(self, instance_id: str) -> Any:
        """Finish what has begun and take nothing new."""
        return self.change(instance_id, state="draining")

    def add_instance(self, service: str, **how: Any) -> Any:
        """Start one more instance (`weight`, `registered`)."""
        return self.ask("POST", f"/v1/services/{quote(service, '')}/instances", how)

    def remove_instance(self, instance_id: str, grace_s: int | None = None) -> None:
        """End an instance, at once or as EAS scales in."""
        self.ask("DELETE", self._path(instance_id), grace_s=grace_s)

    def add_service(self, name: str, **how: Any) -> Any:
        """Start one more service (`instances`, `weights`, `token`, `processor`, …)."""
        return self.ask("POST", "/v1/services", {"name": name, **how})

    def remove_service(self, name: str) -> None:
        """End a service, its instances and the faults on it."""
        self.ask("DELETE", f"/v1/services/{quote(name, '')}")

    def _path(self, instance_id: str) -> str:
        service = self.instance(instance_id)["service"]
        return f"/v1/services/{quote(service, '')}/instances/{quote(instance_id, '')}"

    # -- canned answers

    def stubs(self, service: str) -> Any:
        """Return a service's canned responses with their hits, and the requests that none of them matched."""
        return self.ask("GET", self._stubs(service))

    def add_stub(self, service: str, **how: Any) -> Any:
        """Answer matching requests with canned responses (`name`, `request`, `responses`, `times`)."""
        return self.ask("POST", self._stubs(service), how)

    def clear_stubs(self, service: str) -> None:
        """Remove a service's canned responses."""
        self.ask("DELETE", self._stubs(service))

    @staticmethod
    def _stubs(service: str) -> str:
        return f"/v1/services/{quote(service, '')}/stubs"

    # -- faults

    def faults(self) -> Any:
        """The faults at work."""
        return self.ask("GET", "/v1/faults")["faults"]

    def add_fault(self, type_: str, target: dict[str, Any], *, when: dict[str, Any] | None = None, **attrs: Any) -> Any:
        """Put a fault to work: `add_fault("latency", {"service": "s"}, latency=200, when={"times": 3})`.

        Args:
            type_: A type of `/v1/fault-types`.
            target: `{"service": …, "instance": …}` or `{"discovery": True}`.
            when: `name`, `probability`, `times`, `skip`, `duration_s`.
            attrs: What the type takes.
        """
        return self.ask("POST", "/v1/faults", {"type": type_, "target": target, "attributes": attrs, **(when or {})})

    def remove_fault(self, name: str) -> None:
        """End a fault."""
        self.ask("DELETE", f"/v1/faults/{quote(name, '')}")

    def clear_faults(self) -> None:
        """End all faults."""
        self.ask("DELETE", "/v1/faults")

    def activations(self, limit: int = 100, **equal: Any) -> Any:
        """The newest applications of faults that have this `fault`, `type`, `service`, `instance`, oldest first."""
        return self.ask("GET", "/v1/activations", limit=limit, **equal)["activations"]

    def strikes(self, limit: int = 100, **equal: Any) -> Any:
        """`activations`, under its older name; deprecated."""
        warnings.warn("Remote.strikes is deprecated: use Remote.activations", DeprecationWarning, stacklevel=2)
        return self.activations(limit, **equal)

    # -- what happened

    def requests(self, limit: int = 100, **equal: Any) -> Any:
        """The newest rows of the journal that have these values, oldest first."""
        return self.ask("GET", "/v1/requests", limit=limit, **equal)["requests"]

    def count(self, **equal: Any) -> int:
        """How many rows have these values: `count(instance="s-0", status=200)`."""
        return int(self.ask("POST", "/v1/requests/count", equal)["count"])

    def events(self, rate: int = 100, last_event_id: str = "") -> EventStream:
        """What happens, as it happens."""
        return EventStream(self._where, rate, last_event_id)


class EventStream:
    """Server-sent events: iterate for `(event, data)`; `last_event_id` is where another stream may go on.

    Use it with `with`, or close it.
    """

    def __init__(self, where: tuple[str, int], rate: int, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self._connection = http.client.HTTPConnection(*where, timeout=TIMEOUT_S)
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        try:
            self._connection.request("GET", f"/_eas/v1/events?rate={rate}", headers=headers)
            self._response = self._connection.getresponse()
        except OSError as error:
            self.close()
            raise Unreachable(f"no simulator answers at {where[0]}:{where[1]}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer."""
        if hasattr(self, "_response"):
            self._response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        event = ""
        for raw in self._response:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "id":
                self.last_event_id = value
            elif name == "data":
                yield event, json.loads(value)
