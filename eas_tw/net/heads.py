"""Functions that parse the header fields of a response."""

from __future__ import annotations


def field(head: bytes, name: bytes) -> bytes | None:
    """Return the value of the first field with a name; `None` if there is no such field.

    Args:
        head: The head in lower case.
        name: The lower-case name together with the CRLF before it and the colon after it.
    """
    at = head.find(name)
    if at < 0:
        return None
    at += len(name)
    return head[at : head.find(b"\r\n", at)].strip()


def raw_headers(head: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the name and value of each field as received, in order; repeated fields are not joined."""
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return tuple((name, value.strip()) for name, colon, value in fields if colon)


def text_headers(head: bytes) -> dict[str, str]:
    """Return the fields as text, names in lower case; repeated fields are joined by a comma (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            name, value = name.lower(), value.strip()
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
