"""Scenario files: parsing, validation, timeline, expectations."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simulator import Fault, ServiceSpec
from simulator.demo.player import client_config
from simulator.expectations import METRICS, CallRecord, Expectation, RequestRecord, TrafficAccount, judge
from simulator.scenario import Scenario, ScenarioError, find, gallery, read
from simulator.timeline import VERBS, Timeline, TimelineStep
from tests.simulator.region import Region

SERVICE = '[[services]]\nname = "s"\ninstances = 2\nzones = ["a", "b"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "story.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_may_have_every_setting(tmp_path: Path) -> None:
    scenario = read(
        written(
            tmp_path,
            """
            title = "T"
            story = "S"
            seed = 9
            length_s = 12.5
            [[services]]
            name = "s"
            instances = 2
            weights = [1, 2]
            token = "t"
            processor = "echo"
            workers = 3
            queue = 4
            processing = { distribution = "uniform", low_s = 0.1, high_s = 0.2 }
            keepalive_s = 1
            rate_limit = 7.5
            zones = ["a"]
            [client]
            calls_per_s = 5
            timeout_s = 2.0
            [[faults]]
            type = "stale"
            target = { discovery = true }
            [[timeline]]
            at_s = 2
            do = "crash"
            instance = ["s-0", "s-1"]
            [[timeline]]
            at_s = 1
            do = "reweigh"
            zone = "a"
            weight = 5
            [[expect]]
            what = "share"
            of = "s-1"
            min = 0.1
            max = 0.2
            from_s = 3
            until_s = 4
            """,
        )
    )
    assert (scenario.title, scenario.story, scenario.seed, scenario.length_s) == ("T", "S", 9, 12.5)
    assert scenario.services == (ServiceSpec("s", 2, [1, 2], "t", "echo", 3, 4, "uniform:0.1,0.2", 1, 7.5, ["a"]),)
    assert [(step.at_s, step.do) for step in scenario.timeline] == [(0, "fault"), (1, "reweigh"), (2, "crash")]
    assert scenario.timeline[2].instances == ("s-0", "s-1")
    assert scenario.expectations == (Expectation("share", "s-1", 0.1, 0.2, 3, 4),)
    assert client_config(scenario).timeout_s == 2.0
    assert client_config(scenario, 10**30 + 7).seed == (10**30 + 7) % 2**64


def test_a_file_with_only_a_seed_is_a_scenario(tmp_path: Path) -> None:
    assert read(written(tmp_path, "seed = 7")) == Scenario(seed=7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = ", "Invalid value"),
        ('seed = "x"', "$.seed: expected a whole number, got 'x'"),
        ("colour = 1", "$.colour: unknown; a scenario has title, story"),
        ("length_s = -1", "$.length_s: expected a number ≥ 0"),
        ("services = 5", "$.services: expected [[services]] tables"),
        ("[[services]]\ninstances = 1", "$.services[0].name: missing"),
        ('[[services]]\nname = "s"\ncolour = 1', "$.services[0].colour: unknown"),
        ('[[services]]\nname = "s"\ninstances = -1', "$.services[0]: service s: instances must be"),
        ('[[services]]\nname = "s"\nprocessor = "no:way"', "$.services[0]: processor no:way"),
        ('[[services]]\nname = "s"\nprocessing = { distribution = "x" }', "$.services[0]: processing: distribution"),
        (SERVICE + SERVICE, "$.services[1].name: service s is named twice"),
        ('[[services]]\nname = "a.b"\n[[services]]\nname = "a/b"', "$.services[1].name: service a/b: its instances"),
        (SERVICE + "[[faults]]", "$.faults[0].type: missing"),
        (
            SERVICE + '[[faults]]\ntype = "latency"\ntarget = { service = "s" }\nattributes = { latency = -1 }',
            "$.faults[0].attributes.latency: expected a number ≥ 0",
        ),
        (
            SERVICE + '[[faults]]\ntype = "latency"\ntarget = { service = "x" }',
            "$.faults[0].target.service: expected one of s, got 'x'",
        ),
        (
            SERVICE + '[[faults]]\ntype = "latency"\ntarget = { service = "s", instance = "s-9" }',
            "$.faults[0].target.instance: expected one of s-0, s-1, got 's-9'",
        ),
        (
            SERVICE + '[[faults]]\ntype = "latency"\ntarget = { service = "s", zone = "z" }',
            "$.faults[0].target.zone: expected one of a, b, got 'z'",
        ),
        (SERVICE + "[[timeline]]", "$.timeline[0].at_s: expected a number ≥ 0"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "dance"', "$.timeline[0].do: expected one of say, crash"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "crash"\nweight = 1', "$.timeline[0].weight: unknown; 'crash' has"),
        (
            SERVICE + '[[timeline]]\nat_s = 1\ndo = "crash"\ninstance = "s-7"',
            "$.timeline[0].instance: expected an instance of s that exists then: s-0, s-1, got 's-7'",
        ),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "crash"\nzone = "z"', "$.timeline[0].zone: expected one of a, b"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "crash"\nservice = "x"', "$.timeline[0].service: expected one of s"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "crash"\nservice = []', "$.timeline[0].service: expected one of s"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "crash"\ninstance = {}', "$.timeline[0].instance: expected an inst"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "reweigh"', "$.timeline[0].weight: missing"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "add"\nweight = -1', "$.timeline[0].weight: weight must be"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "add"\ncount = 0', "$.timeline[0].count: expected a whole number ≥ 1"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "traffic"', "$.timeline[0].calls_per_s: missing"),
        (SERVICE + '[[timeline]]\nat_s = 1\ndo = "fault"', "$.timeline[0].fault: expected an object"),
        (
            SERVICE
            + '[[timeline]]\nat_s = 2\ndo = "crash"\ninstance = "s-0"\n'
            + '[[timeline]]\nat_s = 1\ndo = "remove"\ninstance = "s-0"',
            "$.timeline[0].instance: expected an instance of s that exists then: s-1",
        ),
        ('[[expect]]\nwhat = "joy"\nis = 1', "$.expect[0].what: expected one of calls"),
        ('[[expect]]\nwhat = "lost"', "$.expect[0]: needs min, max or is"),
        ('[[expect]]\nwhat = "lost"\nmax = "x"', "$.expect[0].max: expected a number"),
        ('[[expect]]\nwhat = "lost"\nof = "x"\nmax = 1', "$.expect[0].of: lost takes no of"),
        (
            '[[expect]]\nwhat = "share"\nof = "x"\nmax = 1',
            "$.expect[0].of: expected an instance that exists at some time",
        ),
        ('[[expect]]\nwhat = "retries"\nmax = 1\nfrom_s = 1', "$.expect[0]: retries counts over the whole scenario"),
        ("[client]\ncolour = 1", "$.client.colour: unknown"),
        ("[client]\nseed = 1", "$.client.seed: unknown"),
        ("[client]\ntimeout_s = -1", "$.client: timeout_s must be"),
        ("[client]\ncalls_per_s = -1", "$.client.calls_per_s: expected a number ≥ 0"),
        ('[client]\nservice = "x"', "$.client.service: expected one of mnist_saved_model_example"),
        ("client = 5", "$.client: expected a table"),
        (f"seed = {'[' * 100_000}", "recursion"),
        (f"seed = {'1' * 5000}", "5000 digits"),
    ],
)
def test_errors_have_the_path_of_the_wrong_value(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        client_config(read(path))
    assert says in str(caught.value)


def test_the_error_for_an_unknown_scenario_lists_the_gallery(tmp_path: Path) -> None:
    with pytest.raises(
        ScenarioError, match=r"no such file, and no built-in scenario of that name \(cold_start, everything"
    ):
        read(tmp_path / "nope")


def test_later_steps_may_name_added_instances(tmp_path: Path) -> None:
    steps = [
        'at_s = 1\ndo = "add"\ncount = 2',
        'at_s = 2\ndo = "crash"\ninstance = "s-3"',
        'at_s = 3\ndo = "replace"',
        'at_s = 4\ndo = "terminate"\ninstance = "s-7"',
        'at_s = 5\ndo = "hang"\ninstance = ["s-4", "s-6"]',
    ]
    read(written(tmp_path, SERVICE + "".join(f"[[timeline]]\n{step}\n" for step in steps)))


def test_a_file_has_precedence_over_a_scenario_of_the_gallery(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(Path("overload")) in gallery()
    (tmp_path / "overload").write_text("seed = 1")
    assert find(Path("overload")) == Path("overload")
    assert find(Path("no/overload")) == Path("no/overload")


class TestTimeline:
    """The verbs of a timeline, run on a simulator."""

    def test_each_verb_changes_its_targets_at_its_time(self) -> None:
        """The state is compared after each second."""
        region = Region(ServiceSpec("echo", 4, zones=["a", "b"]), ServiceSpec("other", 1))
        told: list[str] = []
        steps = [
            TimelineStep(1, "crash", service="echo", zone="a"),
            TimelineStep(2, "restart", service="echo"),
            TimelineStep(2, "hang", service="echo", instances=("echo-1", "echo-3")),
            TimelineStep(3, "resume", service="echo"),
            TimelineStep(3, "deregister", service="echo", instances=("echo-0",)),
            TimelineStep(4, "register", service="echo"),
            TimelineStep(4, "reweigh", service="echo", instances=("echo-2",), weight=7),
            TimelineStep(5, "drain", service="echo", instances=("echo-2",)),
            TimelineStep(5, "fault", fault=Fault("empty_list", name="bad-list")),
            TimelineStep(6, "heal", name="bad-list"),
            TimelineStep(6, "terminate", service="echo", instances=("echo-2",)),
            TimelineStep(7, "remove", service="echo", instances=("echo-3",)),
            TimelineStep(7, "add", service="echo", count=2, weight=3),
            TimelineStep(8, "replace", service="other"),
            TimelineStep(9, "fault", fault=Fault("empty_list")),
            TimelineStep(9, "heal"),
            TimelineStep(9, "say", says="the end"),
            TimelineStep(9, "traffic", calls_per_s=5),
        ]
        assert {step.do for step in steps} == set(VERBS)
        timeline = Timeline(region.world, [*steps[7:], *steps[:7]], lambda step: told.append(step.do))
        timeline.start()
        echo = region.service.instances
        seen = []
        for _ in range(9):
            region.wait(1.0001)
            seen.append(
                (
                    " ".join(str(i.state)[0] for i in echo.values()),
                    " ".join(f"{i.weight:g}" for i in region.service.listed()),
                    len(list(region.world.faults)),
                )
            )
        assert seen == [
            ("c r c r", "100 100 100 100", 0),
            ("r h r h", "100 100 100 100", 0),
            ("r r r r", "100 100 100", 0),
            ("r r r r", "100 100 7 100", 0),
            ("r r d r", "100 100 7 100", 1),
            ("r r r", "100 100 100", 0),
            ("r r r r", "100 100 3 3", 0),
            ("r r r r", "100 100 3 3", 0),
            ("r r r r", "100 100 3 3", 0),
        ]
        assert list(region.world.services["other"].instances) == ["other-1"]
        assert len(told) == len(steps)
        region.wait(30)
        region.close()

    def test_a_timeline_can_be_restarted(self) -> None:
        region = Region()
        told: list[float] = []
        timeline = Timeline(
            region.world, [TimelineStep(0), TimelineStep(2), TimelineStep(4)], lambda step: told.append(step.at_s)
        )
        timeline.start()
        region.wait(3)
        timeline.start()
        region.wait(3)
        timeline.stop()
        region.wait(3)
        assert told == [0, 2, 0, 2]
        region.close()

    def test_a_step_for_a_removed_instance_does_not_stop_the_timeline(self) -> None:
        region = Region(instances=2)
        timeline = Timeline(
            region.world,
            [TimelineStep(1, "remove", instances=("echo-0",)), TimelineStep(2, "crash", instances=("echo-1",))],
        )
        timeline.start()
        region.service.remove_instance("echo-0")
        region.wait(3)
        assert str(region.instance.state) == "crashed"
        region.close()


def account() -> TrafficAccount:
    return TrafficAccount(
        calls=[CallRecord(0, 0.1), CallRecord(1, 0.2), CallRecord(2, 0.4, "ConnectionFailed: x"), CallRecord(3, 0.3)],
        requests=[RequestRecord(0.5, "a", 200), RequestRecord(1.5, "b", 503), RequestRecord(2.5, "a", 200)],
        retries=5,
        discovery_requests=6,
        discovery_refused=Counter({"not_json": 2, "empty_list": 1}),
        ready_s=0.5,
        known=3,
        ejected=1,
    )


@pytest.mark.parametrize(
    ("expectation", "value"),
    [
        (Expectation("calls"), 4),
        (Expectation("calls", from_s=1, until_s=3), 2),
        (Expectation("answered"), 3),
        (Expectation("lost"), 1),
        (Expectation("lost", from_s=2.5), 0),
        (Expectation("lost_ratio"), 0.25),
        (Expectation("problem", "ConnectionFailed"), 1),
        (Expectation("problem", "Deadline"), 0),
        (Expectation("latency_p50_s"), 0.2),
        (Expectation("latency_p99_s"), 0.4),
        (Expectation("latency_max_s", until_s=2), 0.2),
        (Expectation("requests"), 3),
        (Expectation("requests", "a", from_s=1), 1),
        (Expectation("share", "a"), 2 / 3),
        (Expectation("requests_per_call"), 0.75),
        (Expectation("status", "503"), 1),
        (Expectation("retries"), 5),
        (Expectation("discovery_requests"), 6),
        (Expectation("discovery_refused"), 3),
        (Expectation("discovery_refused", "not_json"), 2),
        (Expectation("ready_s"), 0.5),
        (Expectation("known"), 3),
        (Expectation("ejected"), 1),
    ],
    ids=str,
)
def test_metrics_are_computed_from_the_calls(expectation: Expectation, value: float) -> None:
    """The calls are those of `account()`."""
    assert expectation.judge(account()).value == value


def test_every_metric_works_without_calls() -> None:
    assert {
        name: metric.value(TrafficAccount(), "x") for name, metric in METRICS.items() if name != "ready_s"
    } == dict.fromkeys([name for name in METRICS if name != "ready_s"], 0)


@pytest.mark.parametrize(
    ("low", "high", "is_met"), [(1, 1, True), (2, None, False), (None, 0, False), (0, 5, True), (None, None, True)]
)
def test_an_expectation_is_met_within_its_bounds(low: float | None, high: float | None, is_met: bool) -> None:  # noqa: FBT001
    """Both bounds are inclusive."""
    (result,) = judge([Expectation("lost", low=low, high=high)], account())
    assert result.is_met is is_met


def test_a_scenario_without_expectations_expects_no_lost_call() -> None:
    assert [result.is_met for result in judge([], account())] == [False]
    assert [result.is_met for result in judge([], TrafficAccount())] == [True]
