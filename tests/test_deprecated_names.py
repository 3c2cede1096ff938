"""Old names work for one release, with a warning that gives the new name."""

from __future__ import annotations

import importlib
import pickle
import warnings

import pytest
from twisted.internet.task import Clock

import eas_tw
from eas_tw.deprecated_names import deprecated_names
from eas_tw.policy.outcomes import AttemptStatus, Outcome

OLD = {
    "eas_tw:Attempt": "eas_tw:AttemptResult",
    "eas_tw:Condition": "eas_tw:AttemptStatus",
    "eas_tw.policy.outcomes:Attempt": "eas_tw.policy.outcomes:AttemptResult",
    "eas_tw.policy.outcomes:Condition": "eas_tw.policy.outcomes:AttemptStatus",
    "eas_tw.policy.instances:Refusal": "eas_tw.policy.instances:RejectReason",
    "eas_tw.policy.instances:RefusedReplyError": "eas_tw.policy.instances:DiscoveryReplyRejected",
    "simulator.virtual.story:explain": "simulator.virtual.reporting.report:explain",
    "simulator.virtual.story:account": "simulator.virtual.reporting.report:account",
    "simulator.virtual.story:replay_line": "simulator.virtual.reporting.report:replay_line",
}


@pytest.mark.parametrize("old", OLD)
def test_an_old_name_is_the_new_one_with_a_warning(old: str) -> None:
    (old_home, _, old_name), (home, _, name) = old.partition(":"), OLD[old].partition(":")
    with pytest.warns(DeprecationWarning, match=rf"{old_home}\.{old_name} is deprecated: use .*{name}"):
        found = getattr(importlib.import_module(old_home), old_name)
    assert found is getattr(importlib.import_module(home), name)


def test_old_members_of_an_enumeration_are_the_new_ones() -> None:
    """The values do not change, because metric labels and settings contain them."""
    assert AttemptStatus.CUT is AttemptStatus.RESPONSE_TRUNCATED
    assert AttemptStatus.WAITED is AttemptStatus.QUEUE_TIMEOUT
    assert AttemptStatus.RETIRED is AttemptStatus.INSTANCE_REMOVED
    assert AttemptStatus.LATE is AttemptStatus.UNRESPONSIVE
    assert [AttemptStatus(value) for value in ("cut", "waited", "retired", "late")] == [
        AttemptStatus.RESPONSE_TRUNCATED,
        AttemptStatus.QUEUE_TIMEOUT,
        AttemptStatus.INSTANCE_REMOVED,
        AttemptStatus.UNRESPONSIVE,
    ]
    assert pickle.loads(pickle.dumps(AttemptStatus.CUT)) is AttemptStatus.RESPONSE_TRUNCATED  # noqa: S301  our own


def test_the_old_attribute_of_an_outcome() -> None:
    outcome = Outcome(AttemptStatus.DEADLINE)
    with pytest.warns(DeprecationWarning, match="attempt_status"):
        assert outcome.condition is AttemptStatus.DEADLINE


def test_the_old_attribute_of_a_client() -> None:
    client = eas_tw.PredictClient("http://127.0.0.1:1", "echo", reactor=Clock())
    with pytest.warns(DeprecationWarning, match="_shared"):
        assert client._family is client._shared


def test_new_names_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert eas_tw.AttemptResult is not None
        assert "Attempt" not in eas_tw.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    load = deprecated_names("eas_tw.errors", {"Old": "EasError"})
    with pytest.raises(AttributeError, match=r"module 'eas_tw\.errors' has no attribute 'nosuch'"):
        load("nosuch")
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = eas_tw.nosuch
