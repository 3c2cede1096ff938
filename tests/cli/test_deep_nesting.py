"""JSON and TOML that the parser rejects with a `RecursionError`, or as a number with too many digits."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from eas_tw import BodyError, ConfigError, Response, ServerSentEvent, StringResponse
from eas_tw.cli import predict, settings, streaming
from eas_tw.cli.perf import compare, keys, sending
from eas_tw.cli.score_functions import _data

DEEP = "[" * 100_000 + "]" * 100_000


def test_a_response_is_a_body_error() -> None:
    with pytest.raises(BodyError, match="not JSON"):
        Response(200, {}, DEEP.encode()).json()


def test_a_body_to_send_is_a_body_error() -> None:
    with pytest.raises(BodyError, match="the body is not JSON"):
        predict.json_body(DEEP.encode(), "the body")


@pytest.mark.parametrize("output", ["pretty", "json"])
def test_a_response_is_printed_as_text(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    predict._show_text(StringResponse(DEEP.encode()), output, {})
    assert capsys.readouterr().out == f"{DEEP if output == 'pretty' else json.dumps({'response': DEEP})}\n"


def test_a_response_that_can_be_parsed_and_not_written_is_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    for depth in range(sys.getrecursionlimit() - 100, sys.getrecursionlimit()):
        text = "[" * depth + "]" * depth
        predict._show_text(StringResponse(text.encode()), "pretty", {})
        assert "".join(capsys.readouterr().out.split()) == text


def test_the_data_of_an_event_is_printed_as_text() -> None:
    event = ServerSentEvent(DEEP)
    assert json.loads(streaming.line_of(event))["data"] == DEEP
    assert streaming.text_of(event) == f"{DEEP}\n"


def test_an_event_has_no_tokens() -> None:
    tokens = sending.TokenCount()
    tokens.add(f'{{"choices": {DEEP}}}')
    assert tokens.total == 0


def test_the_output_of_a_row_is_text() -> None:
    assert _data([], StringResponse(DEEP.encode())) == DEEP


def test_a_result_to_compare_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(DEEP)
    with pytest.raises(ConfigError, match=r"a\.json is not JSON"):
        compare._read(tmp_path / "a.json")


def test_a_body_without_the_field_of_a_key_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no such field"):
        keys._field(DEEP, "user")


@pytest.mark.parametrize("value", [DEEP, "1" * 5000])
def test_a_profile_is_a_config_error(value: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(f"[default]\nservice = {value}\n")
    options: Any = argparse.Namespace(config=str(tmp_path / "profiles.toml"), profile=None)
    with pytest.raises(ConfigError, match=r"profiles\.toml: "):
        settings.read(options, {})
