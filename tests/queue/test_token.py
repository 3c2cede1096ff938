"""The token of a queue client: a function is called for each request, and may fail at any time."""

from __future__ import annotations

import pytest

from eas_tw import ClientConfig, ConfigError, Instance, QueueClient
from eas_tw.telemetry.events import WatchLost
from tests.net.calling import Result, says
from tests.queue.peer import QueueHarness

STREAM = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"


class Vault:
    """Returns another token for each request, or fails."""

    def __init__(self) -> None:
        self.number = 0
        self.is_down = False

    def __call__(self) -> str:
        if self.is_down:
            raise RuntimeError("t0ken")
        self.number += 1
        return f"token-{self.number}"


def harness_of(vault: Vault, kind: str = "websocket") -> QueueHarness:
    harness = QueueHarness()
    config = ClientConfig(seed=1, queue_watch=kind)
    rows = [Instance("10.0.0.1", 80)]
    harness.client = QueueClient("", "svc", token=vault, instances=rows, reactor=harness.reactor, config=config)
    harness.client.init()
    harness.client.listen(harness.events.append)
    return harness


def test_each_request_has_the_token_that_the_function_returns() -> None:
    harness = harness_of(Vault())
    harness.learn()
    sent = []
    for _ in range(2):
        harness.client.get()
        asked = harness.asked()
        sent += [line for line in asked.head.splitlines() if line.startswith("Authorization")]
        asked.answer(b"")
    assert sent == ["Authorization: token-2", "Authorization: token-3"]
    harness.assert_clean()


@pytest.mark.parametrize("is_known", [True, False])
def test_a_function_that_raises_fails_the_operation_and_the_opening_of_a_watch(*, is_known: bool) -> None:
    vault = Vault()
    harness = harness_of(vault)
    if is_known:
        harness.learn()
    vault.is_down = True
    for result in (Result(harness.client.get(timeout_s=1.0)), Result(harness.client.watch().open())):
        assert isinstance(result.error, ConfigError)
        assert str(result.error) == "the function given as token raised RuntimeError"
    harness.assert_clean()


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_a_watch_is_reconnected_when_the_function_works_again(kind: str) -> None:
    vault = Vault()
    harness = harness_of(vault, kind)
    harness.learn()
    opening = Result(harness.client.watch().open())
    wire = harness.upgraded().wire if kind == "websocket" else harness.asked().wire
    if kind == "http":
        says(wire, STREAM)
    assert opening.value
    vault.is_down = True
    wire.lose()
    for _ in range(20):
        harness.reactor.advance(1.0)
    assert not harness.reactor.dials
    lost = [event.outcome.detail for event in harness.events if isinstance(event, WatchLost)]
    assert lost[-1] == "the function given as token raised RuntimeError"
    vault.is_down = False
    harness.reactor.advance(5.0)
    assert f"Authorization: token-{vault.number}" in harness.asked().head
    harness.assert_clean()
