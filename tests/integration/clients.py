"""Makes clients for the module's simulator, on the real reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import reactor

from eas_tw import ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_FIXED, ClientConfig, PredictClient
from tests.integration.conftest import TOKEN
from tests.patience import PATIENT

if TYPE_CHECKING:
    from tests.simulator.serving import Served


def client_of(
    served: Served, kind: str = ENDPOINT_TYPE_DIRECT, service: str = "echo", **settings: Any
) -> PredictClient:
    """Make a client with an endpoint type and with long timeouts, unless `settings` change them."""
    rows = [(i["ip"], i["port"], i["weight"]) for i in served.instances] if kind == ENDPOINT_TYPE_FIXED else None
    token = settings.pop("token", TOKEN)
    return PredictClient(
        served.ready["url"],
        service,
        token=token,
        endpoint_type=kind,
        instances=rows,
        reactor=reactor,
        config=ClientConfig(**{**PATIENT, **settings}),
    )
