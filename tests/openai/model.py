"""Helpers that read and change the state of the simulated language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulator.serving import Served

TOKEN = "t0ken-nobody-may-see"
MODEL = "llm"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]


def opened(served: Served) -> int:
    """Return the number of connections that the instances have."""
    count: int = len(served.admin("GET", "/v1/connections")[1]["connections"])
    return count


def add_fault(served: Served, kind: str, *, instance: str = "", times: int | None = None, **attributes: Any) -> None:
    """Add a fault to the service, or to one instance."""
    target = {"service": "chat", **({"instance": instance} if instance else {})}
    fault = {"type": kind, "target": target, "attributes": attributes, **({"times": times} if times else {})}
    status, answer = served.admin("POST", "/v1/faults", fault)
    assert status == 201, answer
