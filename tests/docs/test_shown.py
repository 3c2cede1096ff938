"""What pages show but do not run is as they show it: the wire, the house."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from email.utils import parsedate_to_datetime

import pytest

from eas_tw.body.signature import Signer
from eas_tw.policy.instances import read_upstreams
from tests.docs.pages import EXAMPLES, ROOT, blocks

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the built package's tests have no docs beside them")


def shown(page: str, language: str) -> list[str]:
    return [block.text for block in blocks() if (block.page, block.language) == (page, language)]


def test_the_list_of_the_page_is_a_list() -> None:
    """The client reads it."""
    (text,) = shown("docs/reference/wire.md", "json")
    found = read_upstreams(text.encode())
    assert [(i.ip, i.port, i.weight) for i in found.instances] == [
        ("172.16.0.11", 50000, 100),
        ("172.16.0.12", 50000, 100),
    ]


def test_a_signature_made_by_the_page_is_the_clients() -> None:
    """Line by line, with the standard library."""
    headers, lines = shown("docs/reference/wire.md", "text")
    token, body, path = b"t0ken", b"[1]", "/api/predict/echo/v2?uid=7"
    digest = hashlib.md5(body).hexdigest()  # noqa: S324
    text = lines.replace("hex(md5(body))", digest).replace("/api/predict/SERVICE[/PATH][?QUERY]", path)
    authorization = base64.b64encode(hmac.digest(token, text.encode(), "sha1")).decode()
    by_hand = headers.replace("hex(md5(body))", digest).replace("base64(hmac-sha1(TOKEN, TEXT))", authorization)
    fields = dict(line.split(": ", 1) for line in by_hand.splitlines())
    signer = Signer(token, path, fields.pop("Content-Type"))
    told = signer.lines(body, parsedate_to_datetime(fields["Date"]).timestamp()).decode()
    assert dict(line.split(": ", 1) for line in told.splitlines()) == fields


def test_every_room_of_the_house_is_there() -> None:
    """Under the folder it is shown in."""
    (tree,) = shown("docs/design/index.md", "text")
    folder = ""
    for line in tree.splitlines():
        named = re.match(r" *(\w+)/ ", line)
        if named:
            folder = named[1] if not line.startswith(" ") else f"eas_tw/{named[1]}"
        indent = len(line) - len(line.lstrip())
        for name in re.findall(r"\b\w+\.py\b", line):
            home = folder if indent > len("  ") else "eas_tw"
            assert (ROOT / home / name).is_file(), f"{home}/{name}"
