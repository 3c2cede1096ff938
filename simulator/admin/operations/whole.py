"""Admin operations on the simulator as a whole: state, reset, health check, metrics, OpenAPI document and page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.admin import metrics, page, schema_parts, schemas, views
from simulator.admin.routing import Asked, Operation, Problem
from simulator.fleet import ResetError
from simulator.http1 import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from simulator.simulator import Simulator

_TEXT = "text/plain; charset=utf-8"


class WholeOperations:
    """The operations on the simulator itself."""

    def __init__(self, world: Simulator, describe: Callable[[], dict[str, Any]]) -> None:
        self._world = world
        self._describe = describe

    def table(self) -> tuple[Operation, ...]:
        """Return the operations, as rows of the admin API's table."""
        text = schema_parts.text("")
        number = {"type": "integer", "description": "Seed of all random draws"}
        seed = schema_parts.shape("The seed after the reset", {"seed": number})
        return (
            Operation("GET", "/", lambda _: page.response(), "The dashboard", text, media="text/html; charset=utf-8"),
            Operation("GET", "/livez", lambda _: Response(200, b"ok\n", _TEXT), "Liveness check", text, media=_TEXT),
            Operation("GET", "/readyz", lambda _: Response(200, b"ok\n", _TEXT), "Readiness check", text, media=_TEXT),
            Operation("GET", "/metrics", self._metrics, "The metrics for Prometheus", text, media=metrics.MEDIA),
            Operation("GET", "/openapi.json", lambda _: self._describe(), "This document", {"type": "object"}),
            Operation(
                "GET",
                "/v1/state",
                lambda asked: views.state(self._world, asked.request.connection),
                "Return the state of the simulator",
                schema_parts.ref("State"),
            ),
            Operation(
                "POST",
                "/v1/reset",
                self._reset,
                "Return to the initial state",
                seed,
                takes=schemas.RESET,
                problems=(409,),
            ),
        )

    def _metrics(self, _: Asked) -> Response:
        return Response(200, metrics.text(self._world).encode(), metrics.MEDIA)

    def _reset(self, asked: Asked) -> Any:
        def failed(failure: Failure) -> None:
            failure.trap(ResetError)
            raise Problem(409, str(failure.value))

        done = self._world.reset(asked.body.get("seed"))
        return done.addErrback(failed).addCallback(lambda _: {"seed": self._world.seed})
