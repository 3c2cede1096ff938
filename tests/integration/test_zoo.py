"""Misbehaving servers: a call ends with the right error, the next call works, and no object is leaked."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from eas_tw import ClientConfig, EasError, PredictClient
from eas_tw.net.call import Call
from eas_tw.net.http1 import ClientConnection
from tests.integration.zoo import SPECIES, Enclosure, Species
from tests.patience import PATIENCE_S, PATIENT

SETTINGS: dict[str, Any] = {
    "attempts": 1,
    "max_head_bytes": 16_384,
    "max_response_bytes": 100_000,
    "drain_timeout_s": 0.0,
    "seed": 1,
}
LARGE = b"x" * 5_000_000
DEADLINE_S = 0.3
"""Deadline for servers whose calls end at the deadline. Calls to other servers end long before their deadline."""


@pytest.fixture(autouse=True)
def _no_object_left(_nothing_left: None) -> Iterator[None]:
    """Assert that no call and no connection of a test is left in memory."""
    before = {id(thing): thing for thing in _held()}
    yield
    gc.collect()
    assert not [thing for thing in _held() if id(thing) not in before]


def _held() -> list[Any]:
    return [thing for thing in gc.get_objects() if type(thing) in (Call, ClientConnection)]


def client_of(*enclosures: Enclosure, **settings: Any) -> PredictClient:
    config = ClientConfig(**{**PATIENT, **SETTINGS, **settings})
    return PredictClient("", "svc", instances=[place.address for place in enclosures], reactor=reactor, config=config)


async def ended(client: PredictClient, body: bytes, timeout_s: float) -> Any:
    """Make a call, and return the text of its response or the type of its error."""
    try:
        return str(await client.predict(body, timeout_s=timeout_s))
    except EasError as error:
        return type(error)


@pytest.mark.parametrize("species", SPECIES.values(), ids=SPECIES)
@pytest_twisted.ensureDeferred
async def test_a_call_to_a_misbehaving_server_is_a_typed_error_or_a_response(species: Species) -> None:
    async with Enclosure(species) as place, client_of(place) as client:
        body = b"body" if species.reads else LARGE
        timeout_s = DEADLINE_S if species.error and species.error.__name__ == "DeadlineExceeded" else PATIENCE_S
        assert await ended(client, body, timeout_s) == (species.error or "good")
        assert place.met == 1
        place.species = None
        assert await ended(client, b"body", PATIENCE_S) == "good"


@pytest.mark.parametrize("species", SPECIES.values(), ids=SPECIES)
@pytest_twisted.ensureDeferred
async def test_calls_on_other_instances_are_not_affected(species: Species) -> None:
    """Ten concurrent calls go to a misbehaving server and to a good one."""
    async with Enclosure(species) as bad, Enclosure(None) as good, client_of(bad, good) as client:
        calls = [client.predict(b"body", timeout_s=PATIENCE_S) for _ in range(10)]
        outcomes: list[Any] = []
        for call in calls:
            call.addBoth(outcomes.append)
        while sum(str(outcome) == "good" for outcome in outcomes) < 5:
            await deferLater(reactor, 0.005)
        for call in calls:
            call.addErrback(lambda failure: failure.trap(EasError))
            call.cancel()
