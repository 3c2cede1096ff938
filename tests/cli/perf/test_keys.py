"""`eas-tw perf --key-from`."""

from __future__ import annotations

import json
import subprocess
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from eas_tw import ConfigError
from eas_tw.cli.perf.keys import keyed
from tests.cli.perf.test_command import COMMAND, variables
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from eas_tw.testing.service import RemoteService


def test_without_the_option_no_call_has_a_key() -> None:
    assert list(islice(keyed((b"a", b"b"), None), 3)) == [(b"a", {}), (b"b", {}), (b"a", {})]


def test_the_lines_of_a_file_are_the_keys_in_turn(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\n\ntwo\n")
    found = islice(keyed((b"a", b"b", b"c"), str(tmp_path / "keys")), 4)
    assert list(found) == [
        (b"a", {"key": "one"}),
        (b"b", {"key": "two"}),
        (b"c", {"key": "one"}),
        (b"a", {"key": "two"}),
    ]


@pytest.mark.parametrize(
    ("field", "key"), [("user", "u1"), ("nested.id", "7"), ("list.0.x", "y"), ("list", '[{"x": "y"}]')]
)
def test_a_field_of_a_json_body_is_its_key(field: str, key: str) -> None:
    body = json.dumps({"user": "u1", "nested": {"id": 7}, "list": [{"x": "y"}]}).encode()
    assert next(keyed((body,), field)) == (body, {"key": key})


@pytest.mark.parametrize(
    ("body", "field"), [(b"{}", "user"), (b"[1]", "user"), (b"[1]", "5"), (b"x", "user"), (b"3", "a")]
)
def test_a_field_that_is_missing_is_one_line(body: bytes, field: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no file '{field}', and no such field in the body"):
        keyed((body,), field)


def test_an_empty_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(ConfigError, match="has no line with a key"):
        keyed((b"1",), str(tmp_path / "keys"))


def test_calls_with_one_key_go_to_one_instance(eas_service: RemoteService, tmp_path: Path) -> None:
    (tmp_path / "bodies").write_text('{"user": "a"}\n{"user": "b"}\n{"user": "c"}\n{"user": "d"}\n')
    flags = ("--bodies", str(tmp_path / "bodies"), "--key-from", "user", "--balancer", "hash", "--in-flight", "1")
    command = [*COMMAND, *flags, "--requests", "24"]
    ended = subprocess.run(command, env=variables(eas_service), capture_output=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    assert (ended.returncode, ended.stderr) == (0, b"")
    # Calls run one at a time, so the recorded requests are in the order of the bodies.
    instances = [row["instance"] for row in eas_service.simulator.requests(service=eas_service.name)]
    assert len(instances) == 24
    assert [len(set(instances[user::4])) for user in range(4)] == [1, 1, 1, 1]
