"""The prefix cache of one instance: the beginnings of the prompts that the instance has already computed.

As in vLLM, a prompt is divided into blocks of a fixed number of tokens, and a block's key covers the whole prompt up to
the end of the block.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK_TOKENS = 16


class PrefixCache:
    """The cached blocks; the least recently used ones are dropped.

    Args:
        max_blocks: Maximum number of blocks; 0 for no cache.
    """

    def __init__(self, max_blocks: int) -> None:
        self._max_blocks = max_blocks
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def take(self, tokens: Sequence[str]) -> int:
        """Look up a prompt, and cache its blocks.

        Returns:
            Number of the prompt's first tokens that were cached; at least the last token is always computed.
        """
        found, is_prefix = 0, True
        for block in _blocks(tokens):
            is_prefix = is_prefix and block in self._blocks
            found += is_prefix
            self._keep(block)
        return min(found, max(0, len(tokens) - 1) // BLOCK_TOKENS) * BLOCK_TOKENS

    def add(self, tokens: Sequence[str]) -> None:
        """Cache the blocks of a prompt with its answer, because the conversation's next prompt begins with both."""
        for block in _blocks(tokens):
            self._keep(block)

    def _keep(self, block: bytes) -> None:
        self._blocks[block] = None
        self._blocks.move_to_end(block)
        if len(self._blocks) > self._max_blocks:
            self._blocks.popitem(last=False)


def _blocks(tokens: Sequence[str]) -> Iterator[bytes]:
    name = b""
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        text = "\0".join(tokens[start : start + BLOCK_TOKENS])
        name = blake2b(name + text.encode("utf-8", "replace"), digest_size=16).digest()
        yield name
