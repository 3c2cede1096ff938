"""Send a prompt to the instance with the fewest outstanding tokens.

An instance with one prompt of 8,000 tokens has more work than one with four
prompts of 100 tokens.

EAS_TOKEN=… python choose_fewest_tokens.py ENDPOINT llm
"""

import asyncio
import os
import sys
from collections import Counter

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.aio import PredictClient

TOKENS = "X-Prompt-Tokens"
LENGTHS = [4000, 100, 100, 100, 100, 100, 100, 100]


class FewestTokens:
    """Chooses the instance with the fewest tokens in flight, by its weight."""

    def __init__(self, rng):
        self._rng = rng
        self._instances = []
        self._outstanding = Counter()

    def update(self, instances):
        self._instances = list(instances)

    def choose(self, _call, excluded):
        free = [each for each in self._instances if each not in excluded]
        self._rng.shuffle(free)  # so that ties are broken at random
        return min(free, key=self._load, default=None)

    def started(self, instance, call):
        self._outstanding[instance.key] += int(call.headers.get(TOKENS, 0))

    def ended(self, instance, call, _outcome, _elapsed_s):
        self._outstanding[instance.key] -= int(call.headers.get(TOKENS, 0))

    def _load(self, instance):
        return self._outstanding[instance.key] / instance.weight


async def ask(client, tokens):
    chat = {
        "model": "llm",
        "messages": [{"role": "user", "content": "word " * tokens}],
        "max_tokens": 4,
        "stream": True,
    }
    opening = client.stream(
        chat, path="v1/chat/completions", headers={TOKENS: str(tokens)}
    )
    async with opening as stream:
        await stream.read()
        return stream.instance.address


async def main(endpoint, service):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ["EAS_TOKEN"],
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        config=ClientConfig(balancer=FewestTokens, timeout_s=60.0),
    )
    async with client:
        places = await asyncio.gather(*[ask(client, tokens) for tokens in LENGTHS])
    print("with the long prompt:", places[1:].count(places[0]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
