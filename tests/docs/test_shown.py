"""Text and code of pages that is shown but not run: protocol, architecture, settings, code and metrics."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import tomllib
from email.utils import parsedate_to_datetime
from importlib import import_module

import attrs
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

import eas_tw.cli
from eas_tw import ClientConfig, PredictClient
from eas_tw.body.signature import Signer
from eas_tw.cli.settings import KEYS
from eas_tw.outer_settings import SETTINGS
from eas_tw.policy.instances import read_upstreams
from eas_tw.telemetry.prometheus import PrometheusMetrics
from tests.docs.pages import ROOT, blocks, pages


def shown(page: str, language: str) -> list[str]:
    return [block.text for block in blocks() if (block.page, block.language) == (page, language)]


def test_the_discovery_reply_of_the_page_is_valid() -> None:
    (text,) = shown("docs/reference/wire.md", "json")
    found = read_upstreams(text.encode())
    assert [(i.ip, i.port, i.weight) for i in found.instances] == [
        ("172.16.0.11", 50000, 100),
        ("172.16.0.12", 50000, 100),
    ]


def test_the_signature_of_the_page_equals_the_clients() -> None:
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


def test_every_module_of_the_architecture_page_exists() -> None:
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


METHODS = {
    "Attempt": "eas_tw.net.attempt",
    "Call": "eas_tw.net.call",
    "ClientConnection": "eas_tw.net.http1",
    "Cluster": "eas_tw.policy.cluster",
    "DirectFetcher": "eas_tw.net.fetch",
    "Flusher": "eas_tw.net.flush",
    "Poller": "eas_tw.net.discovery",
    "Pool": "eas_tw.net.pool",
    "Pools": "eas_tw.net.upstream",
    "PredictClient": "eas_tw.client",
    "RequestBuilder": "eas_tw.request_builder",
    "ResponseReader": "eas_tw.reading",
    "RetryPolicy": "eas_tw.policy.retry",
    "Upstream": "eas_tw.net.upstream",
    "UpstreamsSource": "eas_tw.net.discovery",
}


def test_every_method_of_the_sequence_diagrams_exists() -> None:
    _, *diagrams = shown("docs/design/architecture.md", "text")
    named = re.findall(r"\b([A-Z]\w+)\.(\w+)", "\n".join(diagrams))
    assert {name for name, _ in named} == set(METHODS)
    for name, method in named:
        assert callable(getattr(getattr(import_module(METHODS[name]), name), method)), f"{name}.{method}"


def test_the_layers_of_the_picture_are_those_that_import_linter_checks() -> None:
    picture, *_ = shown("docs/design/architecture.md", "text")
    below = picture.partition("public API: eas_tw.__all__")[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in project if each["name"].startswith("the layers of eas_tw:"))
    checked = [name for layer in layers for name in re.findall(r"eas_tw\.(\w+)", layer)]
    at = [re.search(rf"^[ ]+(?:\w+ +)?{name}\b", below, re.MULTILINE) for name in checked]
    assert None not in at
    assert [match.end() for match in at if match] == sorted(match.end() for match in at if match)


def test_every_endpoint_type_is_described() -> None:
    """The text in the reference equals the docstring in the source."""
    entry = re.compile(r"^\.\. py:data:: eas_tw\.(\w+)\n   :type: str\n   :value: \"(\w+)\"\n\n   (.+)$", re.MULTILINE)
    found = entry.findall(page("reference/configuration.md"))
    named = {name: getattr(eas_tw, name) for name in eas_tw.__all__ if name.startswith("ENDPOINT_TYPE_")}
    assert {name: value for name, value, _ in found} == named
    source = (ROOT / "eas_tw" / "config.py").read_text("utf-8")
    for name, value, text in found:
        assert f'{name} = "{value}"\n"""{text}"""\n' in source


def test_no_constant_is_described_by_the_docstring_of_its_class() -> None:
    """For a constant from another module, autodoc shows the docstring of its class."""
    for path in pages():
        for module, name in re.findall(r"^\.\. autodata:: ([\w.]+)\.(\w+)$", path.read_text("utf-8"), re.MULTILINE):
            value = getattr(import_module(module), name)
            assert value.__doc__ != type(value).__doc__, f"{path.name}: {module}.{name}"


def test_all_pages_give_the_same_duration_of_the_demo() -> None:
    phrase = re.compile(r"about \d+ s, and \S+ \S+")
    times = [phrase.findall((ROOT / name).read_text("utf-8")) for name in ("README.md", "Makefile")]
    assert times[0] == times[1] != []


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_every_knob_of_a_client_is_described() -> None:
    described = set(re.findall(r"^        (\w+): ", str(ClientConfig.__doc__), re.MULTILINE))
    assert {knob.name for knob in attrs.fields(ClientConfig) if knob.init} == described
    assert ".. autoclass:: eas_tw.ClientConfig" in page("reference/configuration.md")


def test_every_setting_of_scrapy_is_described() -> None:
    own = set(re.findall(r"\bEAS_[A-Z_]+[A-Z]", (ROOT / "eas_tw" / "scrapy" / "config.py").read_text("utf-8")))
    shared = {f"EAS_{key.upper()}".removesuffix("_S") for key in SETTINGS}
    assert set(re.findall(r"^\| `(EAS_\w+)` \|", page("howto/scrapy.md"), re.MULTILINE)) == own | shared


def test_every_setting_and_exit_code_of_the_command_line_is_described() -> None:
    text = page("howto/cli.md")
    assert set(KEYS) <= set(re.findall(r"`(\w+)`", text))
    codes = r"^\| (\d+) \|"
    assert re.findall(codes, text, re.MULTILINE) == re.findall(codes, str(eas_tw.cli.__doc__), re.MULTILINE)


def test_every_metric_is_described() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry).watch(PredictClient("x", "echo", reactor=Clock()))
    told = {f"{metric.name}{'_total' * (metric.type == 'counter')}" for metric in registry.collect()}
    table = page("howto/metrics.md").partition("| Metric |")[2].partition("\n\n")[0]
    names = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])]
    assert set(names) == told
