"""Admin operations on a service's stubs: add, list and remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.admin import schema_parts, schemas, views
from simulator.admin.operations.fleet import find_service
from simulator.admin.routing import Asked, Operation, Problem
from simulator.stubs import StubError, read_stub

if TYPE_CHECKING:
    from simulator.simulator import Simulator

_STUBS = "/v1/services/{service}/stubs"


class StubOperations:
    """The operations on stubs."""

    def __init__(self, world: Simulator) -> None:
        self._world = world

    def table(self) -> tuple[Operation, ...]:
        """Return the operations, as rows of the admin API's table."""
        rows = schema_parts.collection(
            "stubs",
            "Stub",
            unmatched=schema_parts.listed("The last requests that no stub matched", {"type": "string"}),
            unmatched_total=schema_parts.whole("Number of all requests that no stub matched"),
        )
        return (
            Operation("GET", _STUBS, self._list, "List a service's stubs, with the number of uses of each", rows),
            Operation(
                "POST", _STUBS, self._add, "Add a stub, which answers matching requests instead of the processor",
                schema_parts.ref("Stub"), takes=schemas.NEW_STUB, status=201,
            ),
            Operation("DELETE", _STUBS, self._clear, "Remove a service's stubs", status=204),
        )  # fmt: skip

    def _list(self, asked: Asked) -> Any:
        stubs = find_service(self._world, asked.names["service"]).stubs
        return {
            "stubs": [views.stub(self._world, stub) for stub in stubs],
            "unmatched": [self._world.mask(text, is_cut=text.endswith("…")) for text in stubs.unmatched],
            "unmatched_total": stubs.unmatched_total,
        }

    def _add(self, asked: Asked) -> Any:
        stubs = find_service(self._world, asked.names["service"]).stubs
        try:
            stub = stubs.add(read_stub(asked.body, f"stub-{len(stubs)}"))
        except StubError as error:
            raise Problem(422, str(error)) from None
        return views.stub(self._world, stub)

    def _clear(self, asked: Asked) -> None:
        find_service(self._world, asked.names["service"]).stubs.clear()
