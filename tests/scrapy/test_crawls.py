"""Crawls with each reactor, in subprocesses, against a simulator."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scrapy
from scrapy.settings import Settings

from eas_tw import ConfigError
from eas_tw.cli import settings as command_settings
from eas_tw.outer_settings import SETTINGS
from eas_tw.scrapy import config
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "t0ken-nobody-may-see"
PROGRAM = Path(__file__).parent / "crawl.py"
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "scrapy.md"
EPOLL, SELECT = "twisted.internet.epollreactor.EPollReactor", "twisted.internet.selectreactor.SelectReactor"
ASYNCIO = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
REACTORS: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: (settings, class of the reactor, module of the asyncio loop under it)
    "asyncio": ({"TWISTED_REACTOR": ASYNCIO}, "AsyncioSelectorReactor", "asyncio."),
    "uvloop": ({"TWISTED_REACTOR": ASYNCIO, "ASYNCIO_EVENT_LOOP": "uvloop.Loop"}, "AsyncioSelectorReactor", "uvloop."),
    "epoll": ({"TWISTED_REACTOR": EPOLL}, "EPollReactor", ""),
    "select": ({"TWISTED_REACTOR": SELECT}, "SelectReactor", ""),
}
HAS_ASYNC_PROCESS = tuple(int(part) for part in scrapy.__version__.split(".")[:2]) >= (2, 14)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("simulator"), "--service", "echo=3", "--token", TOKEN, "--seed", "7") as served:
        yield served


@pytest.fixture
def served(running: Served) -> Served:
    assert running.admin("POST", "/v1/reset", {})[0] == 200
    return running


def settings_of(served: Served, **changes: Any) -> dict[str, Any]:
    """Return the settings of a project."""
    return {
        "ADDONS": {"eas_tw.scrapy.Addon": 500},
        "EAS_ENDPOINT": served.ready["url"],
        "EAS_SERVICE": "echo",
        "EAS_TOKEN": TOKEN,
        "EAS_SCORER": "tests.scrapy.crawl.Score",
    } | changes


def begin(settings: dict[str, Any], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), json.dumps(settings), *arguments]
    if "ASYNCIO_EVENT_LOOP" in settings:
        # Scrapy does not close the event loop that it replaces, with or without our add-on.
        command[1:1] = ["-W", "ignore::ResourceWarning"]
    return subprocess.Popen(  # noqa: S603
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def crawl(settings: dict[str, Any], *arguments: str) -> tuple[dict[str, Any], str]:
    """Run a crawl until it ends, and return its results and its log."""
    with begin(settings, *arguments) as process:
        output, log = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, log
    assert TOKEN not in log
    return json.loads(output.splitlines()[-1]), log


def journal(served: Served) -> list[dict[str, Any]]:
    return served.admin("GET", "/v1/requests?limit=10000")[1]["requests"]  # type: ignore[no-any-return]


def complaints(log: str) -> list[str]:
    """Return the lines of a log that are warnings or errors."""
    signs = ("] WARNING: ", "] ERROR: ", "] CRITICAL: ", "Traceback", "Warning:")
    return [line for line in log.splitlines() if any(sign in line for sign in signs)]


WAYS = [(name, ()) for name in REACTORS]
WAYS += [("asyncio", ("async",)), ("uvloop", ("async",))] if HAS_ASYNC_PROCESS else []


@pytest.mark.parametrize(("reactor", "how"), WAYS)
def test_every_item_is_scored_once(served: Served, reactor: str, how: tuple[str, ...]) -> None:
    """For 100 items, journal, stats and items agree. Nothing is left in the reactor or logged as an error."""
    served.admin("POST", "/v1/faults", latency(20))
    changes, reactor_name, loop = REACTORS[reactor]
    told, log = crawl(settings_of(served, EAS_CONCURRENT_REQUESTS=8, **changes), *how)
    assert (told["reactor"], told["left"]) == (reactor_name, [])
    assert told["loop"].startswith(loop)
    assert sorted(item["score"] for item in told["items"]) == list(range(100))
    assert all(item["score"] == item["number"] for item in told["items"])
    rows = journal(served)
    assert [row["status"] for row in rows] == [200] * 100
    stats = told["stats"]
    assert stats["eas/request_count"] == stats["eas/response_status_count/200"] == len(rows)
    assert stats["eas/item_scored_count"] == stats["item_scraped_count"] == 100
    assert (stats["eas/retry_count"], stats["eas/failover_count"], stats["eas/discovery/instances"]) == (0, 0, 3)
    assert "eas/item_error_count" not in stats
    assert stats["eas/in_flight/max"] == 8
    assert 0.02 <= stats["eas/latency/mean_seconds"] <= stats["eas/latency/max_seconds"] < PATIENCE_S
    assert peak(rows) <= 8
    assert complaints(log) == []
    # Scrapy logs its stats after the client has been closed, so they include the stats of the client.
    assert "'eas/request_count': 100" in log


def latency(milliseconds: int) -> dict[str, Any]:
    return {"type": "latency", "target": {"service": "echo"}, "attributes": {"latency": milliseconds}}


def peak(rows: list[dict[str, Any]]) -> int:
    """Return the highest number of concurrent requests on the instances, from the times of the journal."""
    events = [(row["at"] - row["elapsed_s"], 1) for row in rows] + [(row["at"], -1) for row in rows]
    here = most = 0
    for _, change in sorted(events):
        here += change
        most = max(most, here)
    return most


def test_a_crashed_instance_causes_retries_and_loses_no_item(served: Served) -> None:
    served.patch("echo", "echo-0", state="crashed")
    told, _ = crawl(settings_of(served))
    assert sorted(item["score"] for item in told["items"]) == list(range(100))
    assert len(journal(served)) == 100
    stats = told["stats"]
    assert (
        stats["eas/retry_count"] == stats["eas/failover_count"] == stats["eas/retry/reason_count/connect_refused"] > 0
    )
    assert stats["eas/request_count"] == 100 + stats["eas/exception_type_count/connect_refused"]
    assert stats["eas/response_status_count/200"] == 100
    assert stats["eas/ejection_count"] == 1


@pytest.mark.parametrize(
    ("policy", "scraped", "dropped", "levels"),
    [("drop", 0, 100, {"WARNING"}), ("keep", 100, 0, {"WARNING"}), ("raise", 0, 0, {"ERROR"})],
)
def test_items_that_cannot_be_scored_are_treated_as_the_setting_says(
    served: Served, policy: str, scraped: int, dropped: int, levels: set[str]
) -> None:
    """The setting is `drop`, `keep` or `raise`."""
    fault = {"type": "http_status", "target": {"service": "echo"}, "attributes": {"code": 400, "body": "bad column"}}
    served.admin("POST", "/v1/faults", fault)
    told, log = crawl(settings_of(served, EAS_ITEM_ERROR=policy))
    stats = told["stats"]
    assert stats["eas/item_error_count"] == stats["eas/item_error_count/StatusError"] == 100
    assert stats.get("item_scraped_count", 0) == scraped
    assert stats.get("item_dropped_count", 0) == dropped
    assert stats["eas/response_status_count/400"] == 100
    assert [item for item in told["items"] if "score" in item] == []
    assert {level for level in ("WARNING", "ERROR") if f" {level}: " in log} == levels
    assert "bad column" in log
    assert told["left"] == []


def test_a_spider_may_call_the_service(served: Served) -> None:
    """A callback uses `get_client`. Items that the scorer does not accept are not changed."""
    told, log = crawl(settings_of(served, SPIDER="asking", EAS_CONCURRENT_REQUESTS=2))
    assert sorted(item["pass"] for item in told["items"]) == [str(page) for page in range(10)]
    assert told["stats"]["eas/request_count"] == 10
    assert told["stats"]["eas/in_flight/max"] <= 2
    assert "eas/item_scored_count" not in told["stats"]
    assert complaints(log) == []


def test_without_settings_the_add_on_is_disabled() -> None:
    told, log = crawl({"ADDONS": {"eas_tw.scrapy.Addon": 500}})
    assert told["stats"]["item_scraped_count"] == 100
    assert "Disabled eas_tw.scrapy.Addon: EAS_ENDPOINT is not set" in log
    assert not [name for name in told["stats"] if name.startswith("eas/")]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"EAS_SERVICE": ""}, "EAS_SERVICE is not set"),
        ({"EAS_SERVICE": "", "EAS_SERIVCE": "echo"}, "EAS_SERIVCE is not a setting; did you mean EAS_SERVICE?"),
        ({"EAS_RETRIES_TIMES": 5}, "EAS_RETRIES_TIMES is not a setting; did you mean EAS_RETRY_TIMES?"),
        ({"EAS_ENDPOINT": ""}, "EAS_ENDPOINT is not set"),
        ({"EAS_ENDPOINT": "http://a b"}, "EAS_ENDPOINT, EAS_SERVICE or EAS_TOKEN: endpoint must look like"),
        (
            {"EAS_ENDPOINT_TYPE": "straight"},
            "EAS_ENDPOINT_TYPE must be one of direct, gateway, vipserver, got 'straight'",
        ),
        ({"EAS_CONCURRENT_REQUESTS": 0}, "EAS_CONCURRENT_REQUESTS must be a whole number ≥ 1, got 0"),
        ({"EAS_CONCURRENT_REQUESTS": "many"}, "EAS_CONCURRENT_REQUESTS must be a whole number ≥ 1, got 'many'"),
        ({"EAS_TIMEOUT": "0"}, "EAS_TIMEOUT must be a number of seconds > 0, got '0'"),
        ({"EAS_TIMEOUT": 10**400}, "EAS_TIMEOUT must be a number of seconds > 0, got an integer of about 401 digits"),
        ({"EAS_RETRY_TIMES": float("inf")}, "EAS_RETRY_TIMES must be a whole number ≥ 0, got inf"),
        ({"EAS_RETRY_TIMES": 1.5}, "EAS_RETRY_TIMES must be a whole number ≥ 0, got 1.5"),
        ({"EAS_ITEM_ERROR": "ignore"}, "EAS_ITEM_ERROR must be one of drop, keep, raise, got 'ignore'"),
        ({"EAS_SCORER": "no.such.Scorer"}, "EAS_SCORER 'no.such.Scorer' cannot be imported: ModuleNotFoundError"),
        ({"EAS_SCORER": "eas_tw.scrapy.Scorer"}, "EAS_SCORER Scorer lacks apply"),
        ({"EAS_SCORER": "json.JSONDecoder"}, "EAS_SCORER JSONDecoder lacks accepts and encode and apply"),
    ],
)
def test_a_wrong_setting_is_one_log_line_and_no_crawl(served: Served, changes: dict[str, Any], says: str) -> None:
    told, log = crawl(settings_of(served, **changes))
    (line,) = complaints(log)
    assert "[eas_tw.scrapy] ERROR: " in line
    assert says in line
    assert line.endswith("; nothing is crawled, since its items would pass unscored")
    stats = told["stats"]
    assert (stats["finish_reason"], told["failed"]) == ("eas_misconfigured", True)
    assert "downloader/request_count" not in stats
    assert (told["items"], told["left"]) == ([], [])


@pytest.mark.parametrize("reactor", ["asyncio", "epoll"])
def test_a_wrong_setting_closes_a_spider_that_never_ends(served: Served, reactor: str) -> None:
    """The spider reads a queue whenever it is idle and never ends by itself. The wrong setting closes it."""
    told, log = crawl(settings_of(served, EAS_TIMEOUT=0, SPIDER="reading", **REACTORS[reactor][0]))
    assert len(complaints(log)) == 1
    assert told["stats"]["finish_reason"] == "eas_misconfigured"
    # Scrapy leaves a delayed call for the request that this spider made at the end.
    left = [thing for thing in told["left"] if "scrapy.utils.reactor.CallLaterOnce" not in thing]
    assert (told["items"], left) == ([], [])


def test_items_of_one_key_go_to_one_instance(served: Served) -> None:
    told, _ = crawl(settings_of(served, EAS_BALANCER="hash", EAS_SCORER="__main__.ScoreByTens"))
    assert told["stats"]["eas/call_answered_count"] == 100
    assert all(item["score"] == item["number"] for item in told["items"])


@pytest.mark.parametrize(
    ("balancer", "says"),
    [
        ("round", "EAS_BALANCER: balancer must be one of 'wrr', 'p2c', 'hash'"),
        ("no.such.Balancer", "EAS_BALANCER 'no.such.Balancer' cannot be imported"),
    ],
)
def test_a_wrong_balancer_is_one_line(balancer: str, says: str) -> None:
    settings = Settings({"EAS_ENDPOINT": "http://127.0.0.1:1", "EAS_SERVICE": "echo", "EAS_BALANCER": balancer})
    with pytest.raises(ConfigError, match=says):
        config.CrawlConfig.from_settings(settings)


def test_the_settings_of_a_crawl_are_those_of_the_command_line() -> None:
    given = {"EAS_ENDPOINT": "http://a.example", "EAS_SERVICE": "s", "EAS_TRUST_ROOTS": "roots.pem"}
    given |= {"EAS_ENDPOINT_TYPE": "gateway", "EAS_RETRY_TIMES": "4", "EAS_BALANCER": "p2c"}
    crawl_config = config.CrawlConfig.from_settings(Settings({**given, "EAS_TIMEOUT": "2.5"}))
    options = Namespace(config=None, profile=None)
    command = command_settings.read(options, {**given, "EAS_TIMEOUT_S": "2.5", "EAS_CONFIG": os.devnull})
    for name in SETTINGS:
        assert getattr(crawl_config, name) == getattr(command, name) != SETTINGS[name].default, name


def test_every_setting_is_known_and_documented() -> None:
    asked = []

    class Asked(Settings):
        def get(self, name: Any, default: Any = None) -> Any:
            asked.append(name)
            return super().get(name, default)

    config.CrawlConfig.from_settings(Asked({"EAS_ENDPOINT": "http://127.0.0.1:1", "EAS_SERVICE": "echo"}))
    listed = re.findall(r"^\| `(EAS_\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {name for name in asked if name.startswith("EAS_")} == set(config.NAMES) == set(listed)


def test_a_refused_token_is_one_line(served: Served) -> None:
    result, log = crawl(settings_of(served, EAS_TOKEN="wr0ng"))
    (line,) = (line for line in complaints(log) if "eas_tw.scrapy" in line)
    assert "The service refuses EAS_TOKEN, which is missing or wrong: " in line
    assert result["stats"]["eas/item_error_count/StatusError"] == 100
    assert "wr0ng" not in log


def test_without_instances_one_line_is_logged_and_no_crawl_starts(served: Served) -> None:
    told, log = crawl(settings_of(served, EAS_SERVICE="nosuch", EAS_TIMEOUT=0.5))
    (line,) = complaints(log)
    assert "no usable list of instances of nosuch" in line
    assert told["stats"]["finish_reason"] == "eas_not_ready"
    assert (told["items"], told["left"], told["failed"]) == ([], [], True)


if HAS_ASYNC_PROCESS:  # these versions also have the mode without a reactor

    def test_the_mode_without_a_reactor_is_one_line_and_no_crawl(served: Served) -> None:
        told, log = crawl(settings_of(served, TWISTED_REACTOR_ENABLED=False), "async")
        lines = [line for line in complaints(log) if "eas_tw" in line]
        assert len(lines) == 1
        assert "eas_tw.scrapy needs Scrapy's Twisted reactor" in lines[0]
        assert (told["stats"]["finish_reason"], told["items"]) == ("eas_misconfigured", [])


@pytest.mark.parametrize("reactor", REACTORS)
def test_an_interrupted_crawl_ends_in_time_though_an_instance_hangs(served: Served, reactor: str) -> None:
    for number in range(3):
        served.patch("echo", f"echo-{number}", state="hung")
    changes = {"EAS_TIMEOUT": 5.0, "EAS_CONCURRENT_REQUESTS": 4, "CONCURRENT_ITEMS": 50, **REACTORS[reactor][0]}
    with begin(settings_of(served, **changes)) as process:
        while len(served.admin("GET", "/v1/connections")[1]["connections"]) < 4:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, log = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, log
    told = json.loads(output.splitlines()[-1])
    assert told["stats"]["finish_reason"] == "shutdown"
    assert told["stats"]["eas/item_error_count"] > 4
    assert 4 <= told["stats"]["eas/call_count"] <= 8
    assert told["left"] == []
    assert " ERROR: " not in log


PROJECT = Path(__file__).parents[2] / "docs" / "examples" / "scrapy_project"


@pytest.fixture(scope="module")
def scorecard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    arguments = ("--service", "scorecard_pmml_example=2", "--token", TOKEN)
    with Served(tmp_path_factory.mktemp("scorecard"), *arguments) as served:
        yield served


class TestHowTo:
    """The programs of the how-to page on Scrapy."""

    def ran(self, *command: str, **variables: str) -> str:
        """Run a program until it ends, and return its log."""
        ended = subprocess.run(  # noqa: S603
            [sys.executable, *command],
            env={**environment(), "EAS_TOKEN": TOKEN, "PYTHONDONTWRITEBYTECODE": "1", **variables},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert TOKEN not in ended.stderr
        return ended.stderr

    def test_the_project_in_one_file_scores_its_items(self, scorecard: Served) -> None:
        log = self.ran("loans.py", EAS_ENDPOINT=scorecard.ready["url"])
        for amount in (1000, 2000, 3000):
            assert f"{{'money_credit': {amount}, 'score': {amount / 1000}}}" in log
        assert "'eas/item_scored_count': 3" in log

    @pytest.mark.parametrize(("spider", "says"), [("loans", "'score': 3.0"), ("asking", "{'answer': '[4000]'}")])
    def test_the_settings_are_a_projects(self, scorecard: Served, spider: str, says: str) -> None:
        endpoint = f"EAS_ENDPOINT={scorecard.ready['url']}"
        scrapy_itself = str(Path(sys.executable).parent / "scrapy")
        assert says in self.ran(scrapy_itself, "crawl", spider, "-s", endpoint, "-s", "TELNETCONSOLE_ENABLED=0")
