"""Storage of the pieces of a body in few objects.

A bytes object costs 33 bytes besides its content, and its place in a list 8 more. If chunks of two bytes were stored
separately, they would use twenty times the memory of the body.
"""

from __future__ import annotations

from io import BytesIO

_SMALL_BYTES = 2048
"""Size below which pieces are merged. For larger pieces the overhead is at most 2 %, and a copy would cost more."""
_MOST_PIECES = 16
"""The number of stored pieces above which all pieces are copied to one buffer.

A buffer grows in place, and its content becomes the body without another copy. Without the buffer, a large body
would be in memory twice when its pieces are joined. The allocation of new memory takes more time than the copy: in an
exchange of 8 MiB each way, it takes a quarter of the CPU time.
"""

Pieces = list[bytes | bytearray | BytesIO]


def add_piece(pieces: Pieces, piece: bytes) -> None:
    """Append a piece to `pieces`, merging small ones; the first piece is stored without a copy."""
    last = pieces[-1] if pieces else None
    if isinstance(last, BytesIO):
        last.write(piece)
    elif last is None or len(piece) >= _SMALL_BYTES:
        pieces.append(piece)
        if len(pieces) > _MOST_PIECES:
            buffer = BytesIO()
            buffer.writelines(pieces)  # type: ignore[arg-type]  # there is no buffer among them yet
            pieces[:] = [buffer]
    elif isinstance(last, bytearray):
        last += piece
    else:
        pieces.append(bytearray(piece))


def joined(pieces: Pieces) -> bytes:
    """Return the bytes of all pieces."""
    if len(pieces) == 1 and isinstance(pieces[0], BytesIO):
        return pieces[0].getvalue()
    return b"".join(pieces)  # type: ignore[arg-type]  # a buffer is the only piece
