"""Seeds of clients, derived from the seed of a run, which may be any integer."""

from __future__ import annotations

_LEAST, _COUNT = -(2**63), 2**64
"""The least seed of `ClientConfig`, and the number of its seeds."""


def client_seed(seed: int) -> int:
    """Return a seed for `ClientConfig`: `seed` itself if it has 64 bits, otherwise its last 64 bits."""
    return (seed - _LEAST) % _COUNT + _LEAST
