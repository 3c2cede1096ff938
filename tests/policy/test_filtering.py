"""The filter of instances that a program can set."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw.policy.filtering import Filtering
from eas_tw.policy.instances import Instance

FLEET = (Instance("10.0.0.1", 1, 1, "blue"), Instance("10.0.0.2", 1, 1, "green"), Instance("10.0.0.3", 1, 0, "old"))


def filtering(rule: Any) -> tuple[Filtering, list[str]]:
    warnings: list[str] = []
    return Filtering(rule, lambda text, error: warnings.append(f"{text} {error!r}")), warnings


def test_without_a_rule_all_are_used() -> None:
    assert filtering(None)[0].of(FLEET) == FLEET


def test_a_rule_leaves_instances_out() -> None:
    made, warnings = filtering(lambda instance: instance.app == "green")
    assert made.of(FLEET) == FLEET[1:2]
    assert warnings == []


@pytest.mark.parametrize("rule", [lambda _: False, lambda instance: instance.app == "old", lambda _: 1 / 0])
def test_a_rule_that_leaves_no_instance_is_ignored_with_one_warning(rule: Any) -> None:
    made, warnings = filtering(rule)
    assert [made.of(FLEET), made.of(FLEET)] == [FLEET, FLEET]
    assert len(warnings) == 1


def test_a_rule_that_worked_in_between_is_warned_about_again() -> None:
    made, warnings = filtering(lambda instance: instance.app == "green")
    for instances in (FLEET[:1], FLEET[:1], FLEET, FLEET[:1]):
        made.of(instances)
    assert len(warnings) == 2


def test_there_is_no_warning_for_an_empty_list() -> None:
    made, warnings = filtering(lambda _: False)
    assert made.of(()) == ()
    assert warnings == []
