"""The target of a client: request URLs, sources of instances, and errors for missing settings."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.iweb import IAgent
from zope.interface import implementer

from eas_tw import ENDPOINT_TYPE_DEFAULT, ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_FIXED, ClientConfig, ConfigError, Instance
from eas_tw.target import ClientTarget, fixed_list

DIRECT = ClientTarget("http://e", "group/svc", "", ENDPOINT_TYPE_DIRECT, ())


@implementer(IAgent)
class Recorder:
    """An agent that records requests, and never responds."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def request(self, method: bytes, uri: bytes, *_: Any, **__: Any) -> Deferred[Any]:
        self.asked.append(f"{method.decode()} {uri.decode()}")
        return Deferred()


def asked(target: ClientTarget) -> list[str]:
    """Return the first request of the target's source of instances."""
    recorder = Recorder()
    source = target.make_source(Clock(), ClientConfig(), Random(1), recorder)  # type: ignore[arg-type]
    assert source is not None
    Deferred.fromCoroutine(source.read()).addErrback(lambda _: None).cancel()
    return recorder.asked


PATH = "GET http://e/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/group"


def test_discovery_requests_the_group_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is the first segment of the service's name. The path is the documented one."""
    monkeypatch.delenv("NAMESPACE", raising=False)
    assert asked(DIRECT) == [PATH]


@pytest.mark.parametrize(("names", "query"), [(("NAMESPACE", "POD_NAME"), "?internal=true"), (("POD_NAME",), "")])
def test_inside_eas_discovery_requests_have_internal_true(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], query: str
) -> None:
    for name in ("NAMESPACE", "POD_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, "x")
    assert asked(DIRECT) == [PATH + query]


@pytest.mark.parametrize(
    ("target", "url", "path"),
    [
        (DIRECT, None, "/api/predict/group/svc"),
        (ClientTarget("http://e/base", "s", "", ENDPOINT_TYPE_DIRECT, ()), None, "/api/predict/s"),
        (ClientTarget("e:81/base", "s", "", ENDPOINT_TYPE_DEFAULT, ()), "http://e:81", "/base/api/predict/s"),
        (ClientTarget("", "", "https://g/x/y", ENDPOINT_TYPE_DEFAULT, ()), "https://g", "/x/y"),
        (ClientTarget("http://e", "s", "http://g", ENDPOINT_TYPE_DIRECT, ()), "http://g", "/"),
    ],
)
def test_the_url_and_path_of_requests_depend_on_the_endpoint_type(
    target: ClientTarget, url: str | None, path: str
) -> None:
    target.check_complete()
    assert target.is_gateway == (url is not None)
    assert target.path == path
    assert url is None or target.gateway_url == url


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        (ClientTarget("http://e", "", "", ENDPOINT_TYPE_DIRECT, ()), "service_name is not set"),
        (ClientTarget("", "s", "", ENDPOINT_TYPE_DEFAULT, ()), "endpoint is not set"),
        (ClientTarget("", "s", "", ENDPOINT_TYPE_FIXED, ()), "at least one instance"),
        (ClientTarget("", "s", "", ENDPOINT_TYPE_FIXED, (Instance("10.0.0.1", 80, 0),)), "at least one instance"),
    ],
)
def test_missing_settings_are_named(target: ClientTarget, missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        target.check_complete()


def test_an_unknown_endpoint_type_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="one of DIRECT, DEFAULT, VIPSERVER, FIXED, got 'direct'"):
        ClientTarget("http://e", "s", "", "direct", ())


def test_a_fixed_list_is_checked_like_discovery() -> None:
    assert fixed_list([("10.0.0.1", 80), ("10.0.0.2", 81, 5)]) == (
        Instance("10.0.0.1", 80, 1),
        Instance("10.0.0.2", 81, 5),
    )
    assert fixed_list([("10.0.0.1", np.int64(80), np.float32(2.5))]) == (Instance("10.0.0.1", 80, 2.5),)
    for row in [("10.0.0.1",), ("10.0.0.1", 0), ("10.0.0.1", "x"), ("10.0.0.1", 80, -1), 7]:
        with pytest.raises(ConfigError, match="instances:"):
            fixed_list([row])  # type: ignore[list-item]


@pytest.mark.parametrize("endpoint_type", [ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT])
@pytest.mark.parametrize("given", ["http://H/api/predict/group/svc", "h/api/predict/group/svc/"])
def test_the_url_of_a_service_is_no_endpoint(endpoint_type: str, given: str) -> None:
    """Users often pass this URL as the endpoint, because the console shows it."""
    with pytest.raises(
        ConfigError,
        match=r"^endpoint must not be the URL of a service: give http://h as the endpoint, and group/svc as",
    ):
        ClientTarget(given, "svc", "", endpoint_type, ())


def test_a_path_of_a_gateway_endpoint_is_a_prefix() -> None:
    target = ClientTarget("http://h/base", "svc", "", ENDPOINT_TYPE_DEFAULT, ())
    assert (target.gateway_url, target.path) == ("http://h", "/base/api/predict/svc")


def test_a_value_of_another_type_is_named_by_it() -> None:
    with pytest.raises(ConfigError, match=r"^instances: port must be a whole number from 1 to 65535, got ndarray in "):
        fixed_list([("10.0.0.1", np.array([80]))])  # type: ignore[list-item]


def test_a_text_is_refused_as_an_instance() -> None:
    with pytest.raises(ConfigError, match=r"^instances: a row is \(ip, port\) or .*, got '10.0.0.1:80'$"):
        fixed_list(["10.0.0.1:80"])  # type: ignore[list-item]
