"""`Remote`, a blocking client of a running simulator's admin API.

The simulator's command line and the pytest fixtures use this module. It imports only the standard library, so that a
test run without eas_tw's client does not load Twisted.
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
_REFUSED = 400  # statuses from 400 on are errors
_MANY = 10


def shortened(names: Iterable[str]) -> str:
    """Join the first ten names with commas, followed by the number of further names."""
    found = list(names)
    return (", ".join(found[:_MANY]) or "none") + (f" and {len(found) - _MANY} more" if len(found) > _MANY else "")


class RemoteError(Exception):
    """The simulator answered with an error; the message has the reason.

    Attributes:
        status: The HTTP status of the response.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Unreachable(ConnectionError):
    """No simulator answers at the URL."""


class Remote:
    """A client of a running simulator.

    Args:
        url: The simulator's URL, as in its ready file, such as `http://127.0.0.1:8780`.
        tokens: The tokens of the simulator's services, by name. The admin API does not return them. `None` if they are
            not known.
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
        """Send a request to the admin API, such as `ask("GET", "/v1/requests", limit=5)`.

        Args:
            method: The HTTP method.
            path: The path relative to `/_eas`.
            body: The JSON value to send; `None` for `{}` (no body with `GET` and `DELETE`).
            query: The query fields; fields with the value `None` are omitted.

        Returns:
            The JSON value of the response; `None` if it has no body.

        Raises:
            RemoteError: The simulator answered with an error.
            Unreachable: No simulator answers.
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

    # -- the whole simulator

    def state(self) -> Any:
        """Return the state of all services, faults and the scenario."""
        return self.ask("GET", "/v1/state")

    def reset(self, seed: int | None = None) -> int:
        """Reset the simulator to its state at the start.

        Args:
            seed: The new seed; `None` for the current seed.

        Returns:
            The seed.
        """
        return int(self.ask("POST", "/v1/reset", {} if seed is None else {"seed": seed})["seed"])

    # -- services and instances

    def services(self) -> Any:
        """Return all services with their instances."""
        return self.ask("GET", "/v1/services")["services"]

    def instances(self) -> list[Any]:
        """Return the instances of all services."""
        return [instance for service in self.services() for instance in service["instances"]]

    def instance(self, instance_id: str) -> Any:
        """Return an instance by its id.

        Raises:
            RemoteError: There is no such instance; the message lists the ids.
        """
        found = {instance["id"]: instance for instance in self.instances()}
        if instance_id not in found:
            raise RemoteError(404, f"no instance {instance_id!r}; there are {shortened(found)}")
        return found[instance_id]

    def change(self, instance_id: str, **changes: Any) -> Any:
        """Change `weight`, `state` or `registered` of an instance, with immediate effect."""
        return self.ask("PATCH", self._path(instance_id), changes)

    def crash(self, instance_id: str) -> Any:
        """Crash an instance, which resets its connections and refuses new connections."""
        return self.change(instance_id, state="crashed")

    def restart(self, instance_id: str) -> Any:
        """Run an instance again, on the same address, after `crash`, `hang` or `drain`."""
        return self.change(instance_id, state="running")

    def hang(self, instance_id: str) -> Any:
        """Hang an instance, which then accepts connections and requests but does not answer."""
        return self.change(instance_id, state="hung")

    def drain(self, instance_id: str) -> Any:
        """Drain an instance, which finishes its requests and refuses new connections."""
        return self.change(instance_id, state="draining")

    def add_instance(self, service: str, **how: Any) -> Any:
        """Add an instance to a service; `how` may have `weight` and `registered`."""
        return self.ask("POST", f"/v1/services/{quote(service, '')}/instances", how)

    def remove_instance(self, instance_id: str, grace_s: int | None = None) -> None:
        """Remove an instance.

        Args:
            instance_id: The instance's id.
            grace_s: The maximum time, in whole seconds, 0–3600, to finish accepted requests. The instance leaves the
                list immediately, and ends after this time, as when EAS scales in. `None` to end it immediately.
        """
        self.ask("DELETE", self._path(instance_id), grace_s=grace_s)

    def add_service(self, name: str, **how: Any) -> Any:
        """Add a service; `how` has fields of `POST /v1/services`, such as `instances`, `weights` and `token`."""
        return self.ask("POST", "/v1/services", {"name": name, **how})

    def remove_service(self, name: str) -> None:
        """Remove a service with its instances and faults."""
        self.ask("DELETE", f"/v1/services/{quote(name, '')}")

    def _path(self, instance_id: str) -> str:
        service = self.instance(instance_id)["service"]
        return f"/v1/services/{quote(service, '')}/instances/{quote(instance_id, '')}"

    def queues(self, service: str) -> Any:
        """Return the input queue and the sink of a queue service, with their groups; empty for other services."""
        return self.ask("GET", f"/v1/services/{quote(service, '')}/queues")["queues"]

    def clear_queues(self, service: str) -> None:
        """Reset the queues of a service to their initial state, without frames and groups."""
        self.ask("DELETE", f"/v1/services/{quote(service, '')}/queues")

    # -- canned responses

    def stubs(self, service: str) -> Any:
        """Return the canned responses of a service with their numbers of uses, and the requests that matched none."""
        return self.ask("GET", self._stubs(service))

    def add_stub(self, service: str, **how: Any) -> Any:
        """Add canned responses for matching requests; `how` may have `name`, `request`, `responses` and `times`."""
        return self.ask("POST", self._stubs(service), how)

    def clear_stubs(self, service: str) -> None:
        """Remove the canned responses of a service."""
        self.ask("DELETE", self._stubs(service))

    @staticmethod
    def _stubs(service: str) -> str:
        return f"/v1/services/{quote(service, '')}/stubs"

    # -- faults

    def faults(self) -> Any:
        """Return the active faults."""
        return self.ask("GET", "/v1/faults")["faults"]

    def add_fault(self, type_: str, target: dict[str, Any], *, when: dict[str, Any] | None = None, **attrs: Any) -> Any:
        """Add a fault, such as `add_fault("latency", {"service": "s"}, latency=200, when={"times": 3})`.

        Args:
            type_: The fault's type, as listed by `GET /v1/fault-types`.
            target: `{"service": …, "instance": …}` or `{"discovery": True}`.
            when: A mapping with `name`, `probability`, `times`, `skip` and `duration_s`, all optional; `None` for a
                fault that is always active.
            attrs: The attributes of the fault's type.
        """
        return self.ask("POST", "/v1/faults", {"type": type_, "target": target, "attributes": attrs, **(when or {})})

    def remove_fault(self, name: str) -> None:
        """Remove a fault by its name."""
        self.ask("DELETE", f"/v1/faults/{quote(name, '')}")

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.ask("DELETE", "/v1/faults")

    def activations(self, limit: int = 100, **equal: Any) -> Any:
        """Return the newest activations of faults, oldest first.

        Args:
            limit: The maximum number of activations.
            equal: Values of `fault`, `type`, `service` or `instance` that the activations must have.
        """
        return self.ask("GET", "/v1/activations", limit=limit, **equal)["activations"]

    def strikes(self, limit: int = 100, **equal: Any) -> Any:
        """Deprecated alias of `activations`."""
        warnings.warn("Remote.strikes is deprecated: use Remote.activations", DeprecationWarning, stacklevel=2)
        return self.activations(limit, **equal)

    # -- journal and events

    def requests(self, limit: int = 100, **equal: Any) -> Any:
        """Return the newest rows of the journal, oldest first.

        Args:
            limit: The maximum number of rows.
            equal: Values that the rows must have, such as `service="s"` or `status=200`.
        """
        return self.ask("GET", "/v1/requests", limit=limit, **equal)["requests"]

    def count(self, **equal: Any) -> int:
        """Count the rows of the journal with given values, such as `count(instance="s-0", status=200)`."""
        return int(self.ask("POST", "/v1/requests/count", equal)["count"])

    def events(self, rate: int = 100, last_event_id: str = "") -> EventStream:
        """Open a stream of the simulator's events.

        Args:
            rate: The maximum number of requests per second that are reported, ≥ 0; failed requests have priority.
            last_event_id: The `last_event_id` of an earlier stream; the new stream continues after its last event.
                Empty to start with new events.
        """
        return EventStream(self._where, rate, last_event_id)


class EventStream:
    """A stream of server-sent events, which yields `(event, data)` when iterated.

    Use it in a `with` block, or call `close`.

    Attributes:
        last_event_id: The id of the last event, after which a later stream can continue; empty before the first event.
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
        """Close the stream and its connection."""
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
