"""Scenarios over real sockets: `check`, `serve --scenario` and `demo --scenario`."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from simulator.scenario import gallery
from tests.simulator.raw import Raw, request
from tests.simulator.serving import Served, run

if TYPE_CHECKING:
    from pathlib import Path

STORY = """
title = "Short"
story = "A crash."
seed = 3
length_s = 2
[[services]]
name = "echo"
instances = 2
token = "t"
[client]
calls_per_s = 100
poll_interval_s = 0.3
[[timeline]]
at_s = 0.5
do = "crash"
instance = "echo-0"
[[timeline]]
at_s = 0.6
do = "fault"
fault = { name = "bad-list", type = "garbage", target = { discovery = true } }
[[timeline]]
at_s = 1.2
do = "heal"
[[expect]]
what = "lost"
is = 0
"""


def test_the_gallery_is_valid_and_complete() -> None:
    names = [path.stem for path in gallery()]
    promised = "rolling_upgrade zone_loss flapping_discovery overload grey_failure ip_reuse cold_start retry_storm"
    assert set(promised.split()) <= set(names)
    ended = run("check", "overload")
    assert ended.returncode == 0
    assert "Overload" in ended.stdout
    assert "500 calls a second" in ended.stdout
    assert "expect  requests_per_call ≤ 1.3" in ended.stdout


def test_a_demo_that_meets_its_expectations_has_exit_code_0(tmp_path: Path) -> None:
    path = tmp_path / "story.toml"
    path.write_text(STORY)
    ended = run("demo", "--scenario", str(path), "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary["lost"] == 0
    assert 150 < summary["calls"] <= 202
    assert summary["discovery_refused"] == {"not_json": summary["discovery_refused"]["not_json"]}
    assert summary["expectations"] == [{"expectation": "lost = 0", "value": 0, "met": True}]
    assert "0.5 s  crash echo-0" in ended.stdout


def test_a_demo_that_does_not_meet_its_expectations_has_exit_code_1(tmp_path: Path) -> None:
    path = tmp_path / "story.toml"
    path.write_text(STORY.replace("length_s = 2", "length_s = 1") + '[[expect]]\nwhat = "calls"\nmin = 1000\n')
    ended = run("demo", "--scenario", str(path), "--json")
    assert ended.returncode == 1
    assert "MISSED  calls ≥ 1000" in ended.stdout


@pytest.mark.parametrize("command", [["check"], ["serve", "--scenario"], ["demo", "--scenario"]])
def test_an_invalid_scenario_is_exit_code_65(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "story.toml"
    path.write_text(STORY.replace('type = "garbage"', 'type = "rubbish"'))
    ended = run(*command, str(path))
    assert ended.returncode == 65
    assert f"{path}: $.timeline[1].fault.type: expected one of" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_served_scenario_runs_and_starts_again_after_a_reset(tmp_path: Path) -> None:
    path = tmp_path / "story.toml"
    path.write_text(
        '[[services]]\nname = "echo"\ninstances = 1\ntoken = ""\n'
        '[[faults]]\nname = "first"\ntype = "http_status"\ntarget = { service = "echo" }\nattributes = { code = 450 }\n'
        '[[timeline]]\nat_s = 0.3\ndo = "heal"\nname = "first"\n'
    )
    with Served(tmp_path, "--scenario", str(path)) as served:
        for _ in range(2):
            assert served.predict("echo", b"")[0] == 450
            while served.predict("echo", b"")[0] != 200:
                pass
            assert served.admin("POST", "/v1/reset", {})[0] == 200
    assert "heal first" in served.output


def test_the_banner_hides_the_token_of_a_scenario(tmp_path: Path) -> None:
    """The banner has $EAS_TOKEN instead. The token of the command line is for services without a token."""
    path = tmp_path / "story.toml"
    path.write_text(STORY.replace('"t"', '"s3cret"'))
    with Served(tmp_path, "--scenario", str(path)) as served:
        assert served.ready["services"][0]["token"] == "s3cret"
    assert "s3cret" not in served.output
    assert "$EAS_TOKEN" in served.output
    path.write_text('[[services]]\nname = "a"\ntoken = "own"\n[[services]]\nname = "b"\n')
    with Served(tmp_path, "--scenario", str(path), "--token", "given") as served:
        assert [service["token"] for service in served.ready["services"]] == ["own", "given"]


def test_every_instance_has_its_own_address(tmp_path: Path) -> None:
    """An address is 127.x.y.z:50000, also after a crash and a restart. Two simulators have different addresses."""
    options = ("--service", "echo=3", "--service", "other=1", "--token", "", "--spread-ips")
    with Served(tmp_path, *options) as served:
        folder = tmp_path / "second"
        folder.mkdir()
        with Served(folder, *options) as second:
            found = [
                (i["ip"], i["port"])
                for each in (served, second)
                for s in each.ready["services"]
                for i in s["instances"]
            ]
        assert len(set(found)) == 8
        assert {port for _, port in found} == {50000}
        assert all(ip.startswith("127.") for ip, _ in found)
        served.patch("echo", "echo-0", state="crashed")
        with pytest.raises(ConnectionRefusedError):
            HTTPConnection(*found[0]).connect()
        served.patch("echo", "echo-0", state="running")
        with Raw(served.instances[0]).send(request(b"hi")) as raw:
            assert raw.response()[::2] == (200, b"hi")
        assert [(row["ip"], row["port"]) for row in served.discover("echo")] == found[:3]
