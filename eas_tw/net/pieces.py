"""Storage of the pieces of a body in few objects.

A bytes object costs 33 bytes besides its content, and its place in a list 8 more. If chunks of two bytes were stored
separately, they would use twenty times the memory of the body.
"""

from __future__ import annotations

_SMALL_BYTES = 2048
"""Smaller pieces are merged. For larger ones the overhead is at most 2 %, and a copy would cost more."""

Pieces = list[bytes | bytearray]


def add_piece(pieces: Pieces, piece: bytes) -> None:
    """Append a piece to `pieces`, merging small ones; the first piece is stored without a copy."""
    if not pieces or len(piece) >= _SMALL_BYTES:
        pieces.append(piece)
        return
    last = pieces[-1]
    if isinstance(last, bytearray):
        last += piece
    else:
        pieces.append(bytearray(piece))
