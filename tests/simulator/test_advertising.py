"""Addresses that a simulator returns if it listens on all addresses: advertised, or the request's local address."""

# ruff: noqa: S104  listening on all addresses is what is tested

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.testing import MemoryReactorClock, StringTransport

from simulator import ServiceSpec, Simulator
from simulator.advertising import Advertised, check_advertise, is_wildcard, loopback
from simulator.http1 import ReceivedRequest
from simulator.scenario import ScenarioError, read
from simulator.service_spec import SpecError
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, run
from tests.simulator.world import Listener

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

UPSTREAMS = "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/echo"
V4 = IPv4Address("TCP", "10.1.2.3", 8780)
V6 = IPv6Address("TCP", "fd00::5", 8780)
MAPPED = IPv6Address("TCP", "::ffff:10.1.2.3", 8780)
SCOPED = IPv6Address("TCP", "fe80::5%eth0", 8780)


class Region:
    """A simulator without a network, whose requests arrive at a given local address."""

    def __init__(self, host: str, advertise: str = "") -> None:
        service = ServiceSpec("echo", 1)
        self.simulator = Simulator(MemoryReactorClock(), host=host, services=[service], advertise=advertise)
        self.simulator.start()

    def ask(self, target: str, at: IAddress, host: str = "localhost") -> Any:
        listener: Any = Listener(StringTransport(hostAddress=at))
        request = ReceivedRequest("GET", target, {"host": host}, b"", listener)
        is_admin = target.startswith("/_eas")
        return (self.simulator.admin if is_admin else self.simulator.control_plane).handle(request)

    def value(self, target: str, at: IAddress, host: str = "localhost") -> Any:
        return json.loads(self.ask(target, at, host).body)


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", ""])
@pytest.mark.parametrize(("at", "ip"), [(V4, "10.1.2.3"), (V6, "fd00::5"), (MAPPED, "10.1.2.3"), (SCOPED, "fe80::5")])
def test_without_advertise_the_local_address_of_the_request_is_returned(wildcard: str, at: IAddress, ip: str) -> None:
    region = Region(wildcard)
    shown = f"[{ip}]" if ":" in ip else ip
    for path in (UPSTREAMS, "/api/v1/servicediscovery/upstreams/echo"):
        assert [row["ip"] for row in region.value(path, at)["endpoints"]["items"]] == [ip]
    assert [row["ip"] for row in region.value("/vipserver/api/srvIPXT?dom=echo", at)["hosts"]] == [ip]
    assert region.ask("/vipserver/serverlist", at).body.decode().startswith(f"{shown}:")
    state = region.value("/_eas/v1/state", at)
    assert state["url"].startswith(f"http://{shown}:")
    assert state["services"][0]["instances"][0]["ip"] == ip
    (instance,) = region.value("/_eas/v1/services/echo/instances", at)["instances"]
    assert instance["ip"] == ip
    assert region.value("/_eas/v1/services/echo/instances/echo-0", at)["ip"] == ip
    own = "127.0.0.1" if wildcard != "::" else "[::1]"
    assert region.simulator.url.startswith(f"http://{own}:")


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "127.0.0.1"])
@pytest.mark.parametrize("advertise", ["simulator", "192.168.1.5", "fd00::7"])
def test_an_advertised_address_has_precedence(host: str, advertise: str) -> None:
    region = Region(host, advertise)
    assert [row["ip"] for row in region.value(UPSTREAMS, V4)["endpoints"]["items"]] == [advertise]
    assert region.value("/_eas/v1/services/echo/instances", V4)["instances"][0]["ip"] == advertise
    assert advertise in region.simulator.url
    assert region.ask("/_eas/v1/state", V4, f"{region.simulator.authority}").status == 200


def test_discovery_faults_use_advertised_addresses() -> None:
    from simulator import Fault, Target  # noqa: PLC0415

    region = Region("0.0.0.0")
    for kind in ("stale", "duplicates", "bad_rows"):
        region.simulator.faults.add(Fault(kind, Target(discovery=True)))
    rows = region.value(UPSTREAMS, V4)["endpoints"]["items"]
    assert [row["ip"] for row in rows if isinstance(row, dict) and "service" in row] == ["10.1.2.3"] * 2
    assert None in rows
    assert "0.0.0.0" not in json.dumps(rows)


def test_the_page_shows_the_address_at_which_it_was_requested() -> None:
    region = Region("0.0.0.0")
    listener: Any = Listener(StringTransport(hostAddress=V4))
    region.simulator.admin.handle(ReceivedRequest("GET", "/_eas/v1/events", {"host": "localhost"}, b"", listener))
    region.simulator.services["echo"].instances["echo-0"].weight = 5
    region.simulator.reactor.advance(0.1)
    told = {event: data for event, _, data in listener.events()}
    assert told["state"]["services"][0]["instances"][0]["ip"] == "10.1.2.3"
    assert told["instance"]["ip"] == "10.1.2.3"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost:1", True),
        ("127.0.0.1", True),
        ("[::1]:8780", True),
        ("10.1.2.3:8780", True),
        ("SIMULATOR", True),
        ("10.1.2.4", False),
        ("0.0.0.0.evil.example", False),
        ("evil.example:8780", False),
        ("", False),
        (":80", False),
    ],
)
def test_which_host_header_names_this_machine(host: str, is_ours: bool) -> None:  # noqa: FBT001
    """The local address of the connection is accepted, because DNS rebinding needs a name in the Host header."""
    listener: Any = Listener(StringTransport(hostAddress=V4))
    assert Advertised("0.0.0.0", "simulator").is_ours(host, listener) is is_ours


@pytest.mark.parametrize("given", ["simulator", "a.b-c.example", "eas_sim", "10.0.0.1", "fd00::1", "[fd00::1]", ""])
def test_valid_values_of_advertise(given: str) -> None:
    assert check_advertise(given) == given.strip("[]")


@pytest.mark.parametrize(
    "given", ["0.0.0.0", "::", "[::]", "host:80", "http://host", "a b", "-a", "a/", "[a", 5, None, "é"]
)
def test_invalid_values_of_advertise(given: Any) -> None:
    with pytest.raises(SpecError, match="advertise must be a host name or an address that clients can reach"):
        check_advertise(given)


def test_wildcards_and_their_loopback() -> None:
    """Each spelling of a wildcard address is recognised, and has a loopback address of the same IP version."""
    assert [is_wildcard(host) for host in ("0.0.0.0", "::", "", "::0", "0:0:0:0:0:0:0:0")] == [True] * 5
    assert [is_wildcard(host) for host in ("127.0.0.1", "::1", "zero", "10.0.0.0")] == [False] * 4
    assert [loopback(host) for host in ("0.0.0.0", "", "::", "10.0.0.1")] == [
        "127.0.0.1",
        "127.0.0.1",
        "::1",
        "10.0.0.1",
    ]


def test_a_scenario_may_set_advertise(tmp_path: Path) -> None:
    story = tmp_path / "story.toml"
    story.write_text('advertise = "simulator"\n')
    assert read(story).advertise == "simulator"
    story.write_text('advertise = "0.0.0.0"\n')
    with pytest.raises(ScenarioError, match=r"\$\.advertise: advertise must be"):
        read(story)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--advertise", "0.0.0.0"], "advertise must be a host name or an address"),
        (["--advertise", "h", "--spread-ips"], "--spread-ips: not allowed with"),
        (["--instance-port", "65535", "--service", "s=2"], "no port is left for instance s-1"),
    ],
)
def test_errors_of_the_command_line(arguments: list[str], says: str) -> None:
    ended = run("--port", "0", *arguments)
    assert (ended.returncode, says in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)


def test_instances_have_consecutive_ports() -> None:
    world = Simulator(MemoryReactorClock(), services=[ServiceSpec("a", 2), ServiceSpec("b/c", 1)], instance_port=40_000)
    assert [world.port_of(name) for name in ("a-0", "a-1", "b.c-0", "a-1", "a-2")] == [
        40000,
        40001,
        40002,
        40001,
        40003,
    ]
    with pytest.raises(SpecError, match="excludes"):
        Simulator(MemoryReactorClock(), spread_ips=True, advertise="x")


def ask(host: str, port: int, path: str) -> Any:
    connection = HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_two_addresses_of_one_machine(tmp_path: Path) -> None:
    with Served(tmp_path, "--host", "0.0.0.0", "--service", "echo=1", "--token", "") as served:
        assert "0.0.0.0:" not in served.output
        assert served.ready["url"].startswith("http://127.0.0.1:")
        assert served.instances[0]["ip"] == "127.0.0.1"
        port = int(served.ready["url"].rpartition(":")[2])
        for address in ("127.0.0.1", "127.0.0.2"):
            (row,) = ask(address, port, UPSTREAMS)["endpoints"]["items"]
            assert row["ip"] == address
            assert served.ask(row, "POST", "/api/predict/echo", b"hi") == (200, b"hi")
            assert ask(address, port, "/_eas/v1/state")["url"] == f"http://{address}:{port}"
        assert served.raw("POST", "/api/predict/echo", b"hi", {}) == (200, b"hi")


def test_the_ipv6_wildcard_also_accepts_ipv4(tmp_path: Path) -> None:
    """IPv6 and IPv4 connections arrive at the same socket."""
    if not socket.has_ipv6 or not _has_loopback_6():
        pytest.skip("this machine has no ::1")
    with Served(tmp_path, "--host", "::", "--service", "echo=1", "--token", "") as served:
        assert served.ready["url"].startswith("http://[::1]:")
        port = int(served.ready["url"].rpartition(":")[2])
        for address in ("::1", "127.0.0.1"):
            (row,) = ask(address, port, UPSTREAMS)["endpoints"]["items"]
            assert row["ip"] == address
            assert served.ask(row, "POST", "/api/predict/echo", b"hi") == (200, b"hi")


def _has_loopback_6() -> bool:
    with socket.socket(socket.AF_INET6) as tried:
        try:
            tried.bind(("::1", 0))
        except OSError:
            return False
    return True


def test_the_entry_point_of_the_containers_example(tmp_path: Path) -> None:
    """The options of the entry point are valid, and its health check succeeds. The test uses other ports."""
    text = (Path(__file__).parents[2] / "docs" / "examples" / "container" / "Dockerfile").read_text()
    text = text.replace("\\\n", "")
    found = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE))
    program, command, *options = json.loads(found["ENTRYPOINT"]) + json.loads(found["CMD"])
    assert (program, command) == ("eas-simulator", "serve")
    ports = {"8780": "0", "40000": "0"}
    with Served(tmp_path, *(ports.get(option, option) for option in options), port="1") as served:
        assert len(served.discover("ranker")) == 3
        (check,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.MULTILINE)
        _, *arguments = [part.replace("http://127.0.0.1:8780", served.ready["url"]) for part in json.loads(check)]
        assert subprocess.run([sys.executable, *arguments], check=False, timeout=PATIENCE_S).returncode == 0  # noqa: S603
