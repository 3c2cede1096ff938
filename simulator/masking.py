"""Masking of tokens in displayed texts and data: tokens in clear text, percent-encoded, escaped or truncated."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any
from urllib.parse import unquote

MASK = "•••"
MAX_RETIRED = 1000
"""Number of tokens of removed services that are still masked, because the journal may contain them in paths."""
_NESTED = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")
"""A percent sign that was encoded once or more often; nested encodings are decoded in one step."""
_MAX_DECODED = 8
_ASCII = bytes([*b"\t\n\r", *range(32, 127)])
_ENCODED_RUN = re.compile(rb"(?<![\t\n\r -~])[\t\n\r -$&-~]*+%[\t\n\r -~]*")
"""A run of ASCII characters with a percent sign. The look-behind and `*+` avoid quadratic time in long runs."""


class TokenMask:
    """A callable that returns a text with the added tokens replaced by `MASK`."""

    def __init__(self) -> None:
        self._services: dict[str, str] = {}
        self._retired: deque[str] = deque(maxlen=MAX_RETIRED)
        self._spellings: tuple[str, ...] = ()
        self._encoded: tuple[str, ...] = ()
        self._have_blanks = False

    def add(self, service: str, token: str) -> None:
        """Mask the token of a service from now on."""
        self._services[service] = token
        self._refresh()

    def retire(self, service: str) -> None:
        """Keep masking the token of a removed service, until `MAX_RETIRED` more services have been removed."""
        self._retired.append(self._services.pop(service, ""))
        self._refresh()

    def __call__(self, text: str, *, is_cut: bool = False) -> str:
        """Return `text` with every token masked.

        Args:
            text: Text of any length.
            is_cut: Whether the text is truncated. If so, the beginning of a token at the end of the text is masked as
                well, if it is at least half of the token.
        """
        text = _replace(text, self._spellings)
        if "%" in text or (self._have_blanks and "+" in text):
            text = self._mask_encoded(text)
        return self._mask_end(text) if is_cut else text

    def in_bytes(self, data: bytes, *, is_cut: bool = False) -> bytes:
        """Return `data`, which is not text in UTF-8, with every token masked.

        Percent-encoded tokens are searched for only in runs of ASCII characters: decoding 16 MiB of binary data takes
        20 s.

        Args:
            data: Bytes of any length.
            is_cut: Whether the data is truncated, as for a text.
        """
        for token in self._spellings:
            data = data.replace(token.encode(), MASK.encode())
        data = _ENCODED_RUN.sub(lambda run: self(run[0].decode()).encode(), data)
        if not is_cut:
            return data
        before = data.rstrip(_ASCII)
        return before + self._mask_end(data[len(before) :].decode()).encode()

    def value(self, given: Any) -> Any:
        """Return a JSON value with every token masked, also in the keys of objects."""
        if isinstance(given, str):
            return self(given)
        if isinstance(given, dict):
            return {self(name): self.value(item) for name, item in given.items()}
        if isinstance(given, list | tuple):
            return [self.value(item) for item in given]
        return given

    def _refresh(self) -> None:
        tokens = dict.fromkeys(token for token in (*self._services.values(), *self._retired) if token)
        spellings = {spelling for token in tokens for spelling in _spellings(token)}
        self._spellings = _longest_first(spellings)
        # A token may contain percent signs, so its decoded form is searched for as well.
        self._encoded = _longest_first({*spellings, *map(_decoded, tokens)})
        self._have_blanks = any(" " in token for token in self._encoded)

    def _mask_encoded(self, text: str) -> str:
        """Mask tokens in percent-encoded text; if a token is found, return the decoded text in which it was found."""
        for charset in ("utf-8", "latin-1"):
            decoded = text
            for _ in range(_MAX_DECODED):
                found = _replace(decoded, self._encoded)
                if self._have_blanks and "+" in found:
                    blank = _replace(found.replace("+", " "), self._encoded)
                    found = blank if blank.count(MASK) > found.count(MASK) else found
                if found != decoded:
                    text = decoded = found
                further = unquote(_NESTED.sub("%", decoded), charset, "replace")
                if further == decoded:
                    break
                decoded = further
        return text

    def _mask_end(self, text: str) -> str:
        body = text.rstrip("…'\"")
        for candidate in dict.fromkeys((body, _decoded(re.sub(r"%[0-9A-Fa-f]?$", "", body)))):
            for token in self._encoded:
                for length in range(len(token) - 1, max(1, len(token) // 2 - 1), -1):
                    if candidate.endswith(token[:length]):
                        return candidate[:-length] + MASK + text[len(body) :]
        return text


def _replace(text: str, tokens: tuple[str, ...]) -> str:
    for token in tokens:
        if token in text:
            text = text.replace(token, MASK)
    return text


def _spellings(token: str) -> set[str]:
    """Return a token's spellings: as it is, escaped by Python and by JSON, and its bytes decoded as Latin-1."""
    return {token, repr(token)[1:-1], json.dumps(token)[1:-1], token.encode().decode("latin-1")}


def _decoded(text: str) -> str:
    for _ in range(_MAX_DECODED):
        further = unquote(_NESTED.sub("%", text))
        if further == text:
            break
        text = further
    return text


def _longest_first(texts: set[str]) -> tuple[str, ...]:
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))
