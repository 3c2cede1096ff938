"""The generation of an answer to one prompt: tokens, finish reason, usage and timing."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import frozen

from simulator.processors.llm.errors import LlmError
from simulator.processors.llm.prefix_cache import BLOCK_TOKENS, PrefixCache
from simulator.processors.llm.words import split_tokens, tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.processors.llm.processor import Llm
    from simulator.processors.requests import ProcessorRequest

MAX_STOPS = 4


@frozen
class Limits:
    """The limits that a request sets on the length of its answer.

    Attributes:
        max_tokens: Maximum number of tokens; `None` for no limit.
        min_tokens: Minimum number of tokens, if `max_tokens` permits it (vLLM).
        ignore_eos: Whether the answer has exactly `max_tokens` tokens (vLLM).
        stop: Texts at which the answer ends; they are not part of the answer.
    """

    max_tokens: int | None
    min_tokens: int
    ignore_eos: bool
    stop: Sequence[str]

    @classmethod
    def read(cls, body: dict[str, Any]) -> Limits:
        """Read the limits of a request.

        Raises:
            LlmError: A limit is invalid.
        """
        stop = body.get("stop")
        stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
        if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(s, str) and s for s in stops):
            raise LlmError(f"'stop' must be a string or a list of at most {MAX_STOPS} strings", param="stop")
        name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
        return cls(
            whole(body, name, 1), whole(body, "min_tokens", 0) or 0, body.get("ignore_eos") is True, tuple(stops)
        )


def whole(body: dict[str, Any], name: str, least: int) -> int | None:
    """Read a parameter that is null or an integer ≥ `least`."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise LlmError(f"{name!r} must be a whole number ≥ {least}, got {str(value)[:40]}", param=name)
    return value


@frozen
class Generation:
    """One answer of the model.

    Attributes:
        pieces: Tokens of the answer; joined, they are its text.
        finish_reason: `stop` or `length`.
        prompt_tokens: Number of tokens of the prompt.
        cached_tokens: Number of the prompt's first tokens that were in the prefix cache.
        first_s: Seconds until the first token.
        gap_s: Seconds between two tokens.
    """

    pieces: Sequence[str]
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    first_s: float
    gap_s: float

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def total_s(self) -> float:
        """Seconds until the last token."""
        return self.first_s + self.gap_s * max(0, len(self.pieces) - 1)

    def usage(self) -> dict[str, Any]:
        """Return the `usage` field of the answer."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": len(self.pieces),
            "total_tokens": self.prompt_tokens + len(self.pieces),
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


def rng_for(request: ProcessorRequest, model: str, prompt: str, body: dict[str, Any]) -> Random:
    """Return an rng for an answer, seeded from the simulator's seed, the model, the prompt and the request's `seed`."""
    return Random(f"{request.seed}/{model}/{body.get('seed')}/{prompt}")


def generate(
    llm: Llm, request: ProcessorRequest, prompt: str, limits: Limits, rng: Random, text: str | None = None
) -> Generation:
    """Answer a prompt.

    Args:
        llm: The model.
        request: The request, whose instance has the prefix cache.
        prompt: The whole input of the model.
        limits: Limits of the answer's length.
        rng: Draws the words and the length.
        text: The answer; `None` for random words.

    Raises:
        LlmError: The prompt and `max_tokens` together are longer than the model's context.
    """
    read = split_tokens(prompt)
    room = llm.context_tokens - len(read)
    if room < (limits.max_tokens or 1):
        wanted = f" and 'max_tokens' of {limits.max_tokens}" if limits.max_tokens else ""
        raise LlmError(
            f"This model's maximum context length is {llm.context_tokens} tokens; the prompt of {len(read)} tokens"
            f"{wanted} is longer",
            param="messages",
            code="context_length_exceeded",
        )
    pieces, reason = _pieces(llm, limits, room, rng, text)
    cache = cache_of(llm, request)
    cached = cache.take(read)
    # Prompt and answer are tokenised together, because the conversation's next prompt begins with both.
    cache.add(split_tokens(f"{prompt}{''.join(pieces)}\n"))
    first_s = llm.ttft.draw(request.rng)
    if llm.prefill_tokens_per_s:
        first_s += (len(read) - cached) / llm.prefill_tokens_per_s
    rate = llm.tokens_per_s.draw(request.rng)
    return Generation(pieces, reason, len(read), cached, first_s, 1 / rate if rate else 0.0)


def cache_of(llm: Llm, request: ProcessorRequest) -> PrefixCache:
    """Return the prefix cache of the request's instance."""
    cache = request.memory.get("prefix_cache")
    if cache is None:
        cache = request.memory["prefix_cache"] = PrefixCache(llm.cache_tokens // BLOCK_TOKENS)
    return cache


def _pieces(llm: Llm, limits: Limits, room: int, rng: Random, text: str | None) -> tuple[list[str], str]:
    most = min(limits.max_tokens or room, room)
    if text is None:
        natural = max(1, round(llm.tokens.draw(rng)), limits.min_tokens)
        natural = most if limits.ignore_eos else natural
        pieces = list(islice(tokens(rng), min(natural, most)))
    else:
        pieces = split_tokens(text)
        natural = len(pieces)
        pieces = pieces[:most]
    reason = "length" if natural > most or (limits.ignore_eos and text is None) else "stop"
    whole_text = "".join(pieces)
    ends = [at for at in (whole_text.find(stop) for stop in limits.stop) if at >= 0]
    return (split_tokens(whole_text[: min(ends)]), "stop") if ends else (pieces, reason)
