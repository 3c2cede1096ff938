"""The pieces of a body that arrives little by little, few of them however small they come.

A bytes object costs 33 bytes beside its content, and a place in a list 8 more: kept one by one, chunks of two bytes
take twenty times the memory of the body.
"""

from __future__ import annotations

_SMALL_BYTES = 2048
"""Smaller pieces are copied together; of larger ones the overhead is below 2 %, and a copy would cost more."""

Pieces = list[bytes | bytearray]


def add_piece(pieces: Pieces, piece: bytes) -> None:
    """Append a piece to those that came before it; the first is kept as it is."""
    if not pieces or len(piece) >= _SMALL_BYTES:
        pieces.append(piece)
        return
    last = pieces[-1]
    if isinstance(last, bytearray):
        last += piece
    else:
        pieces.append(bytearray(piece))
