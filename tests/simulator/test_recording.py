"""A recording contains no token, in whatever part of a request or response the token is."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from simulator import ServiceSpec
from simulator.http1 import ReceivedRequest, Response
from simulator.masking import MASK
from simulator.recording import Recorder, read_recording
from tests.simulator.world import Listener, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKENS = ["s3cret-token", 's3cret"token', "s3cret\\token", "Zm9v/YmFy+c2VjcmV0=="]


@pytest.mark.parametrize("spelled", [str, quote], ids=["clear", "percent-encoded"])
@pytest.mark.parametrize("token", TOKENS)
def test_a_recording_contains_no_token(tmp_path: Path, token: str, spelled: Callable[[str], str]) -> None:
    """The token is masked before it is quoted or encoded for the file."""
    service = World((ServiceSpec("echo", 1, token=token),)).simulator.services["echo"]
    path, given = tmp_path / "traffic.toml", spelled(token)
    recorder = Recorder(path)
    for before in (b"", b"\xff"):
        asked = ReceivedRequest(
            "POST", f"/api/predict/echo/{given}", {"authorization": token}, before + given.encode(), Listener()
        )
        headers = {"X-Echo": given, f"X-{given}": "1"}
        recorder.record(service, asked, Response(200, before + given.encode(), f"text/{given}", headers))
    assert [stub["request"]["path"] for stub in tomllib.loads(path.read_text("utf-8"))["stub"]] == [f"/{MASK}"] * 2
    for before, stub in zip((b"", b"\xff"), read_recording(path), strict=True):
        response = stub.responses[0].response
        assert [stub.request.body, response.body] == [before + MASK.encode()] * 2
        assert (response.content_type, response.headers) == (f"text/{MASK}", {"X-Echo": MASK, f"X-{MASK}": "1"})
