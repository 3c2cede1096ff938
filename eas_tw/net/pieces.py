"""Storage for the pieces of a body, in few objects however small the pieces are.

A bytes object costs 33 bytes besides its content, and its place in a list 8 more: stored one by one, chunks of two
bytes would take twenty times the memory of the body.
"""

from __future__ import annotations

_SMALL_BYTES = 2048
"""Smaller pieces are copied together; for larger ones the overhead is below 2 %, and a copy would cost more."""

Pieces = list[bytes | bytearray]


def add_piece(pieces: Pieces, piece: bytes) -> None:
    """Append a piece to the pieces before it; the first is stored without a copy."""
    if not pieces or len(piece) >= _SMALL_BYTES:
        pieces.append(piece)
        return
    last = pieces[-1]
    if isinstance(last, bytearray):
        last += piece
    else:
        pieces.append(bytearray(piece))
