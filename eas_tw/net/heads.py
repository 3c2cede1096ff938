"""The fields of a response's head, read from its bytes."""

from __future__ import annotations


def field(head: bytes, name: bytes) -> bytes | None:
    """Return the value of the first field of a name in a lower-case head; `None` if there is none."""
    at = head.find(name)
    if at < 0:
        return None
    at += len(name)
    return head[at : head.find(b"\r\n", at)].strip()


def raw_headers(head: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return name and value of each field as received, in order; repeated fields are not joined."""
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return tuple((name, value.strip()) for name, colon, value in fields if colon)


def text_headers(head: bytes) -> dict[str, str]:
    """Return the fields as text, names in lower case; repeated ones are joined by a comma (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            name, value = name.lower(), value.strip()
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
