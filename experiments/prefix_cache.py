"""Measure the effect of instances' prefix caches with each balancer, in the same conversations.

A simulated language model caches the blocks of prompts that it has processed, and computes the rest of a prompt before
the first token. Writes docs/howto/prefix-cache.svg and the table of docs/howto/choosing.md. `--json` prints the figures
and writes no files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, prefix_key
from eas_tw.aio import PredictClient
from eas_tw.testing import subprocess_simulator

DOCS = Path(__file__).parent.parent / "docs" / "howto"
PAGE, CHART = DOCS / "choosing.md", DOCS / "prefix-cache.svg"
BALANCERS: dict[str, dict[str, Any]] = {
    '"wrr"': {"balancer": "wrr"},
    '"p2c"': {"balancer": "p2c"},
    '"hash"': {"balancer": "hash"},
    '"hash", factor 2': {"balancer": "hash", "hash_load_factor": 2.0},
    '"hash", factor 4': {"balancer": "hash", "hash_load_factor": 4.0},
}
INSTANCES, CONVERSATIONS, TURNS, AT_ONCE = 4, 32, 5, 8
FIRST_WORDS, WORDS = 600, 60
TOKEN = "t0ken"
MODEL = "llm:ttft=0.01,prefill_tokens_per_s=4000,tokens_per_s=0,tokens=16,cache_tokens=16384"
START, END = "<!-- figures: python experiments/prefix_cache.py -->", "<!-- end of the figures -->"
WIDTH, LEFT, ROW = 640, 130, 34
STYLE = (
    "<style>text{fill:#555}.bar{fill:#d9581c}.line{stroke:#8884}"
    "@media(prefers-color-scheme:dark){text{fill:#bbb}.bar{fill:#ff9b63}}</style>"
)


def words(rng: random.Random, count: int) -> str:
    return " ".join(f"w{rng.randrange(10_000)}" for _ in range(count))


async def turn(client: PredictClient, messages: list[dict[str, str]]) -> tuple[str, float, int, int]:
    """Send a prompt; return the answer, the seconds to its first token, and the prompt's cached and total tokens."""
    chat = {"model": "llm", "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    began = time.perf_counter()
    first_s, answer = None, []
    usage: dict[str, Any] = {}
    opening = client.stream(chat, path="v1/chat/completions", key=prefix_key(messages), timeout_s=60.0)
    async with opening as stream:
        async for event in stream.events():
            if event.data == "[DONE]":
                break
            chunk = json.loads(event.data)
            usage = chunk.get("usage") or usage
            text = chunk["choices"][0]["delta"].get("content") if chunk["choices"] else None
            if text:
                first_s = first_s or time.perf_counter() - began
                answer.append(text)
    details = usage.get("prompt_tokens_details") or {}
    return "".join(answer), first_s or 0.0, details.get("cached_tokens", 0), usage["prompt_tokens"]


async def conversation(client: PredictClient, number: int, room: asyncio.Semaphore, found: list[Any]) -> None:
    rng = random.Random(number)
    messages = [{"role": "system", "content": words(rng, FIRST_WORDS)}, {"role": "user", "content": words(rng, WORDS)}]
    for at in range(TURNS):
        async with room:
            answer, first_s, cached, tokens = await turn(client, messages)
        found.append((at, first_s, cached, tokens))
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": words(rng, WORDS)}]


async def hold(url: str, settings: dict[str, Any]) -> dict[str, Any]:
    config = ClientConfig(**settings, seed=1, timeout_s=60.0, hedge_after_s=None)
    found: list[Any] = []
    room = asyncio.Semaphore(AT_ONCE)
    async with PredictClient(url, "llm", token=TOKEN, endpoint_type=ENDPOINT_TYPE_DIRECT, config=config) as client:
        await asyncio.gather(*[conversation(client, number, room, found) for number in range(CONVERSATIONS)])
    later = sorted(first_s for at, first_s, _, _ in found if at)
    return {
        "largest_prompt": max(tokens for *_, tokens in found),
        "cached": sum(cached for _, _, cached, _ in found) / sum(tokens for *_, tokens in found),
        "mean_s": statistics.mean(later),
        "p50_s": statistics.median(later),
        "p95_s": later[int(len(later) * 0.95)],
    }


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Run the conversations with one balancer against a new simulator, and return the figures."""
    services = ("--service", f"llm={INSTANCES}", "--processor", MODEL, "--token", TOKEN)
    with tempfile.TemporaryDirectory() as folder, subprocess_simulator(Path(folder), *services, seed=1) as simulator:
        return asyncio.run(hold(simulator.url, settings))


def table(figures: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| balancer | cached tokens of prompts | first token of later turns, mean | p50 | p95 |",
        "|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        times = " | ".join(f"{row[figure] * 1000:.0f} ms" for figure in ("mean_s", "p50_s", "p95_s"))
        lines.append(f"| `{name}` | {row['cached']:.0%} | {times} |")
    return "\n".join(lines)


def chart(figures: dict[str, dict[str, Any]]) -> str:
    """Render a chart with a bar for each balancer: the mean time to the first token."""
    height = ROW * len(figures) + 30
    most_s = max(row["mean_s"] for row in figures.values())
    box = f'viewBox="0 0 {WIDTH} {height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="13">', STYLE]
    for at, (name, row) in enumerate(figures.items()):
        y, width = ROW * at + 8, (WIDTH - LEFT - 190) * row["mean_s"] / most_s
        says = f"{row['mean_s'] * 1000:.0f} ms, {row['cached']:.0%} cached"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end" font-weight="bold">{name}</text>')
        parts.append(f'<rect class="bar" x="{LEFT}" y="{y}" width="{width:.1f}" height="22" rx="2"/>')
        parts.append(f'<text x="{LEFT + width + 8:.1f}" y="{y + 16}">{says}</text>')
    parts.append(f'<text x="{LEFT}" y="{height - 8}">time to the first token of later turns, mean</text>')
    return "".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and write no files")
    options = parser.parse_args()
    figures = {name: measure(settings) for name, settings in BALANCERS.items()}
    if options.json:
        print(json.dumps(figures))
        return
    CHART.write_text(chart(figures), "utf-8")
    page = PAGE.read_text("utf-8")
    PAGE.write_text(re.sub(f"{START}.*{END}", f"{START}\n{table(figures)}\n{END}", page, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main()
