"""Bodies and signatures compared with those of the official SDK."""

from __future__ import annotations

import base64
import json
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

import eas_tw
from eas_tw.body.signature import Signer

VECTORS = json.loads((Path(__file__).parent / "data" / "official_sdk_vectors.json").read_text("utf-8"))
CASES = [case for case in VECTORS["requests"] if case["request"] in eas_tw.__all__]


def argument(value: Any, request: type) -> Any:
    """Convert a value of the JSON file: `DT:…` is a constant of the class, `bytes:…` is bytes as latin-1."""
    if isinstance(value, list):
        return [argument(item, request) for item in value]
    if isinstance(value, str) and value.startswith("DT:"):
        return getattr(request, value.removeprefix("DT:"))
    if isinstance(value, str) and value.startswith("bytes:"):
        return value.removeprefix("bytes:").encode("latin-1")
    return value


def test_the_file_of_vectors_has_cases() -> None:
    assert {case["request"] for case in CASES} >= {"StringRequest", "TFRequest"}
    assert len(CASES) >= 17
    assert len(VECTORS["signatures"]) == 6


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_bodies_are_the_official_sdks_byte_for_byte(case: dict[str, Any]) -> None:
    kind = getattr(eas_tw, case["request"])
    request = kind(*argument(case["init"], kind))
    for method, arguments in case["calls"]:
        getattr(request, method)(*argument(arguments, kind))
    assert request.to_string() == base64.b64decode(case["body_base64"])


@pytest.mark.parametrize("case", VECTORS["signatures"], ids=lambda case: case["date"])
def test_signatures_are_the_official_sdks_byte_for_byte(case: dict[str, str]) -> None:
    """The same token, service, date, content type and body give the same Content-MD5 and Authorization."""
    signer = Signer(case["token"].encode(), f"/api/predict/{case['service_name']}", case["content_type"])
    moment = parsedate_to_datetime(case["date"]).timestamp()
    assert signer.lines(base64.b64decode(case["body_base64"]), moment).decode().split("\r\n") == [
        f"Content-MD5: {case['content_md5']}",
        f"Date: {case['date']}",
        f"Authorization: {case['authorization']}",
        "",
    ]
