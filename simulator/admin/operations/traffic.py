"""Admin operations on traffic: the journal, connections, streamed responses, discovery replies and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.admin import schema_parts, schemas, views
from simulator.admin.events import MAX_RATE, Hub
from simulator.admin.operations.fleet import find_service
from simulator.admin.routing import COUNT, EVENT_STREAM, LIMIT, Asked, Operation, Parameter, Problem
from simulator.journal import FIELDS, MAX_ROWS, Matcher, MatchError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from simulator.http1 import Answer
    from simulator.simulator import Simulator

_SERVICE = Parameter("service", "Only entries of this service")
_INSTANCE = Parameter("instance", "Only entries of this instance")
_FLAG = {"type": "integer", "minimum": 0, "maximum": 1}
_ROW_FIELDS = (
    LIMIT,
    Parameter("content", "1: include the stored headers and bodies (capture_bytes)", _FLAG, 0),
    Parameter("after", "Only rows with a greater number", COUNT, 0),
    Parameter(
        "status",
        "Only rows with this status, such as 450, or of this class, such as 5xx; 0 for no response",
        {"type": "string", "pattern": "^([0-9]{1,3}|[0-9]xx)$"},
    ),
    *(
        Parameter(name, f"Only rows with this {name}")
        for name in ("service", "instance", "method", "path", "fault", "stream")
    ),
)
_RATE = Parameter(
    "rate",
    "Maximum number of request events per second, failed requests first; gaps in `number` show how many were skipped",
    {"type": "integer", "minimum": 0, "maximum": MAX_RATE},
    100,
)
_LAST_ID = Parameter("last_event_id", "Id of the last received event, for clients that cannot send Last-Event-ID")


class TrafficOperations:
    """The operations on traffic."""

    def __init__(self, world: Simulator, hub: Hub) -> None:
        self._world = world
        self._hub = hub

    def table(self) -> tuple[Operation, ...]:
        """Return the operations, as rows of the admin API's table."""
        total = schema_parts.whole("Number of requests since the journal was cleared")
        rows = schema_parts.collection("requests", "Request", total=total)
        return (
            Operation(
                "GET", "/v1/requests", self._requests, "List the newest rows of the journal, oldest first", rows,
                query=_ROW_FIELDS,
            ),
            Operation("DELETE", "/v1/requests", self._forget, "Clear the journal", status=204),
            Operation(
                "POST", "/v1/requests/count", self._count, "Count the stored rows with these values",
                schema_parts.shape("The result of a count", {"count": schema_parts.whole("Rows that match")}),
                takes=schemas.MATCHER,
            ),
            Operation(
                "GET", "/v1/connections", self._connections, "List the open connections of instances",
                schema_parts.collection("connections", "Connection"), query=(_SERVICE, _INSTANCE),
            ),
            Operation(
                "GET", "/v1/streams", self._streams, "List the running streamed responses, in the order of their start",
                schema_parts.collection("streams", "Stream", total=schema_parts.whole("Number, regardless of `limit`")),
                query=(LIMIT, _SERVICE, _INSTANCE),
            ),
            Operation(
                "GET", "/v1/discovery", self._replies, "List the last discovery reply of each service",
                schema_parts.collection("replies", "Reply"),
            ),
            Operation(
                "GET", "/v1/services/{service}/discovery", self._reply, "Return the last discovery reply of a service",
                schema_parts.ref("Reply"),
            ),
            Operation(
                "GET", "/v1/events", self._events, "Send changes and requests as server-sent events",
                schema_parts.text("See docs/simulator/admin-api"), query=(_RATE, _LAST_ID), media=EVENT_STREAM,
                problems=(503,),
            ),
        )  # fmt: skip

    def _requests(self, asked: Asked) -> Any:
        journal = self._world.journal
        found = journal.newest(min(asked.query["limit"], MAX_ROWS), _matcher(asked))
        rows = [views.row(self._world, number, row) for number, row in found]
        if asked.query["content"]:
            for row in rows:
                row["content"] = views.captured(self._world, journal.captures.get(row["number"]))
        return {"requests": rows, "total": journal.total}

    def _count(self, asked: Asked) -> Any:
        try:
            return {"count": self._world.journal.count(Matcher.from_json(asked.body))}
        except MatchError as error:
            raise Problem(422, str(error)) from None

    def _forget(self, _: Asked) -> None:
        self._world.journal.clear()

    def _connections(self, asked: Asked) -> Any:
        wanted = asked.query
        return {
            "connections": [
                {
                    "service": service.name,
                    "instance": instance.id,
                    "peer": connection.peer,
                    "requests": connection.requests,
                    "is_idle": connection.is_idle,
                }
                for service in self._world.services.values()
                if wanted["service"] in (None, service.name)
                for instance in service.instances.values()
                if wanted["instance"] in (None, instance.id)
                for connection in instance.server.connections
            ]
        }

    def _streams(self, asked: Asked) -> Any:
        wanted = asked.query
        found = list(views.streams(self._world, wanted["service"], wanted["instance"]))
        shown = [views.stream(self._world, stream) for stream in found[: wanted["limit"]]]
        return {"streams": shown, "total": len(found)}

    def _replies(self, _: Asked) -> Any:
        latest = self._world.control_plane.replies.latest.values()
        return {"replies": [views.reply(self._world, reply) for reply in latest]}

    def _reply(self, asked: Asked) -> Any:
        service = find_service(self._world, asked.names["service"])
        reply = self._world.control_plane.replies.latest.get(service.name)
        if reply is None:
            raise Problem(404, f"there was no discovery request for {service.name!r} yet")
        return views.reply(self._world, reply)

    def _events(self, asked: Asked) -> Deferred[Answer]:
        last = asked.query["last_event_id"] or asked.request.headers.get("last-event-id", "")
        if self._hub.is_full:
            raise Problem(503, "too many event streams are open; close one")
        return self._hub.open(asked.request.connection, last, asked.query["rate"])


def _matcher(asked: Asked) -> Matcher:
    given = {name: asked.query[name] for name in FIELDS if asked.query.get(name) is not None}
    status = given.pop("status", None)
    if status is None:
        return Matcher(given, after=asked.query["after"])
    if status.endswith("xx"):
        return Matcher(given, int(status[0]), asked.query["after"])
    return Matcher({**given, "status": int(status)}, after=asked.query["after"])
