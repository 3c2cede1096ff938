"""A thousand conversations through `openai` during a rolling upgrade of all instances."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx2
import openai

from eas_tw import ClientConfig
from tests.openai.model import MODEL, opened
from tests.openai.programs import asynchronous
from tests.patience import until
from tests.simulator.serving import Served

CONVERSATIONS = 1000
AT_ONCE = 40


class Upgrade:
    """Replaces all instances one after another, repeatedly, without waiting for their streams."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.is_over = False
        self.rounds = 0

    async def run(self) -> None:
        while not self.is_over:
            for number in range(3):
                for state in ({"registered": False}, {"state": "crashed"}, {"state": "running", "registered": True}):
                    await asyncio.to_thread(self._served.patch, "chat", f"chat-{number}", **state)
                    await asyncio.sleep(0.02)
            self.rounds += 1


async def converse(llm: Any, number: int, ended: Counter[str]) -> None:
    """Make two requests; the second one contains the response to the first."""
    messages: list[Any] = [{"role": "user", "content": f"Hello, I am number {number}"}]
    for _ in range(2):
        try:
            stream = await llm.chat.completions.create(model=MODEL, messages=messages, max_tokens=4, stream=True)
        except openai.OpenAIError as error:
            ended[f"lost: {error!r} from {error.__cause__!r}"] += 1
            return
        try:
            parts = [event.choices[0].delta.content or "" async for event in stream]
        except (openai.APIConnectionError, httpx2.RemoteProtocolError):
            ended["broken"] += 1
            return
        messages += [{"role": "assistant", "content": "".join(parts)}, {"role": "user", "content": "And then?"}]
    ended["answered"] += 1


def test_no_request_fails_before_the_first_byte_of_its_response(served: Served) -> None:
    ended: Counter[str] = Counter()
    upgrade = Upgrade(served)

    async def main() -> None:
        config = ClientConfig(poll_interval_s=0.1, timeout_s=60)
        async with asynchronous(served, config=config) as llm:
            upgrading = asyncio.create_task(upgrade.run())
            places = asyncio.Semaphore(AT_ONCE)

            async def one(number: int) -> None:
                async with places:
                    await converse(llm, number, ended)

            await asyncio.gather(*map(one, range(CONVERSATIONS)))
            upgrade.is_over = True
            await upgrading
            client = llm._client._transport.client.client
            assert client.counters.retries.total() > 0
        for _ in range(10):  # tasks of the loop close the generators of openai and httpx2
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        timers = [timer for timer in client.reactor.getDelayedCalls() if timer.active()]
        assert timers == []

    asyncio.run(main())
    assert {what: count for what, count in ended.items() if what.startswith("lost")} == {}
    assert ended["answered"] + ended["broken"] == CONVERSATIONS
    assert ended["answered"] > CONVERSATIONS / 2
    assert upgrade.rounds >= 1
    until(lambda: opened(served) == 0)
