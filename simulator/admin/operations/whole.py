"""Admin operations on the simulator as a whole: state, reset, health check, metrics, OpenAPI document and page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.admin import metrics, page, schema_parts, schemas, views
from simulator.admin.routing import Asked, Operation
from simulator.http1 import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.simulator import Simulator

_TEXT = "text/plain; charset=utf-8"


class WholeOperations:
    """The operations on the simulator itself."""

    def __init__(self, world: Simulator, describe: Callable[[], dict[str, Any]]) -> None:
        self._world = world
        self._describe = describe

    def table(self) -> tuple[Operation, ...]:
        """Return the rows of the table."""
        text = schema_parts.text("")
        seed = schema_parts.shape("How it began", {"seed": {"type": "integer", "description": "Of every random draw"}})
        return (
            Operation("GET", "/", lambda _: page.response(), "The page", text, media="text/html; charset=utf-8"),
            Operation("GET", "/livez", lambda _: Response(200, b"ok\n", _TEXT), "Is it alive", text, media=_TEXT),
            Operation(
                "GET", "/readyz", lambda _: Response(200, b"ok\n", _TEXT), "Does everything listen", text, media=_TEXT
            ),
            Operation("GET", "/metrics", self._metrics, "For Prometheus", text, media=metrics.MEDIA),
            Operation("GET", "/openapi.json", lambda _: self._describe(), "This document", {"type": "object"}),
            Operation(
                "GET",
                "/v1/state",
                lambda asked: views.state(self._world, asked.request.connection),
                "Everything at a glance",
                schema_parts.ref("State"),
            ),
            Operation("POST", "/v1/reset", self._reset, "Back to the beginning", seed, takes=schemas.RESET),
        )

    def _metrics(self, _: Asked) -> Response:
        return Response(200, metrics.text(self._world).encode(), metrics.MEDIA)

    def _reset(self, asked: Asked) -> Any:
        seed = asked.body.get("seed")
        done = self._world.reset(seed)
        return done.addCallback(lambda _: {"seed": self._world.seed})
