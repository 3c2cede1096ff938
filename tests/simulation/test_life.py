"""A client from `init` to `close`, and its events."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.python.failure import Failure

from eas_tw import ClientClosed, ConfigError, DiscoveryError, NoInstances, StatusError
from eas_tw.telemetry.events import AttemptEnded, CallEnded, Ejected, ListChanged, PollRefused, Returned
from tests.simulation.harness import TOKEN, Harness


class TestDiskCopy:
    """The start of a client for which discovery has no good reply, with and without a disk copy."""

    def test_a_start_without_discovery_uses_the_disk_copy(self, tmp_path: Path) -> None:
        """The disk copy is used after `init_timeout_s`, and marked stale until discovery responds."""
        first = Harness(snapshot_path=str(tmp_path)).init()
        known = first.client.instances
        first.assert_clean()
        second = Harness(snapshot_path=str(tmp_path), init_timeout_s=3.0)
        second.discovery_fault("unreachable")
        second.init()
        assert second.client.instances == known
        assert second.client.discovery.is_stale
        assert second.client.discovery.age_s is not None
        assert second.call() == "call 0"
        second.heal()
        second.wait(10.0)
        assert not second.client.discovery.is_stale
        second.assert_clean()

    def test_the_disk_copy_is_not_filtered(self, tmp_path: Path) -> None:
        """The disk copy has all instances, because a program with another `instance_filter` may use the same copy."""
        filtered = Harness(snapshot_path=str(tmp_path), instance_filter=lambda each: each.port % 2).init()
        (kept,) = {instance.port % 2 for instance in filtered.client.instances}
        assert kept == 1
        filtered.assert_clean()
        second = Harness(snapshot_path=str(tmp_path), init_timeout_s=3.0)
        second.discovery_fault("unreachable")
        second.init()
        assert {instance.port % 2 for instance in second.client.instances} == {0, 1}
        second.assert_clean()

    def test_the_disk_copy_is_not_used_before_the_timeout(self, tmp_path: Path) -> None:
        Harness(snapshot_path=str(tmp_path)).init().assert_clean()
        harness = Harness(snapshot_path=str(tmp_path), init_timeout_s=5.0)
        harness.discovery_fault("http_status", code=500)
        starting = harness.client.init()
        harness.wait(1.0)
        assert harness.client.instances == ()
        harness.heal()
        harness.run(starting)
        assert not harness.client.discovery.is_stale
        harness.assert_clean()

    def test_without_a_disk_copy_the_start_fails(self, tmp_path: Path) -> None:
        harness = Harness(snapshot_path=str(tmp_path), init_timeout_s=1.0)
        harness.discovery_fault("unreachable")
        with pytest.raises(DiscoveryError):
            harness.init()
        harness.assert_clean()


class TestLife:
    """Calls before `init`, after `close` or from another thread fail with an error that names the reason."""

    def error(self, harness: Harness) -> Any:
        failures: list[Failure] = []
        harness.client.predict("x").addErrback(failures.append)
        (failure,) = failures
        return failure.value

    def test_before_init_during_and_after_close(self) -> None:
        """Calls fail before `init` and after `close`. A client accepts a second `init` and a second `close`."""
        harness = Harness()
        assert isinstance(self.error(harness), NoInstances)
        harness.init()
        harness.init()
        harness.instance(0).hang()
        harness.begin_call()
        closing = harness.client.close()
        assert isinstance(self.error(harness), ClientClosed)
        harness.run(harness.client.close())
        harness.run(closing)
        assert isinstance(self.error(harness), ClientClosed)
        with pytest.raises(ClientClosed):
            harness.init()

    def test_calls_from_another_thread_are_refused(self) -> None:
        harness = Harness().init()
        errors: list[Any] = []
        thread = Thread(target=lambda: errors.append(self.error(harness)))
        thread.start()
        thread.join()
        assert isinstance(errors[0], ConfigError)
        assert "callFromThread" in str(errors[0])
        assert harness.client.counters.calls == 0
        harness.assert_clean()

    def test_a_rotated_token_applies_to_the_next_call(self) -> None:
        harness = Harness().init()
        harness.client.set_token("stolen")
        with pytest.raises(StatusError, match="401"):
            harness.call()
        harness.client.set_token(TOKEN)
        assert harness.call() == "call 0"
        harness.assert_clean()

    def test_clients_of_one_service_share_a_retry_budget(self) -> None:
        """A child for the same service shares the retry budget; a child for another service has its own."""
        harness = Harness().init()
        same, other = harness.client.child("echo", token=TOKEN), harness.client.child("other")
        harness.run(same.init())
        assert same._runtime is not None
        assert harness.client._runtime is not None
        assert same._runtime.call_context.budget is harness.client._runtime.call_context.budget
        other.init().addErrback(lambda failure: failure.trap(ClientClosed, DiscoveryError))
        assert other._runtime is not None
        assert other._runtime.call_context.budget is not same._runtime.call_context.budget
        harness.assert_clean()


class TestEvents:
    """The events that a listener gets."""

    def test_the_events_of_a_crash_are_in_order(self) -> None:
        harness = Harness()
        heard: list[Any] = []
        stop = harness.client.listen(heard.append)
        harness.init()
        harness.traffic(1.0)
        harness.instance(0).crash()
        harness.traffic(1.0)
        harness.instance(0).resume()
        harness.traffic(10.0)
        kinds = [type(event) for event in heard]
        assert kinds[0] is ListChanged
        assert kinds.count(CallEnded) == harness.started == harness.client.counters.calls
        assert kinds.count(AttemptEnded) == harness.client.counters.attempts.total()
        assert kinds.count(Ejected) == harness.client.counters.ejections.total() > 0
        assert kinds.count(Returned) == 1
        failovers = [event for event in heard if isinstance(event, CallEnded) and event.failed]
        assert all(event.instance != event.failed[0].instance and not event.error for event in failovers)
        assert {event.service for event in heard} == {"echo"}
        stop()
        harness.call()
        assert len(heard) == len(kinds)
        assert TOKEN not in repr(heard)
        harness.assert_clean()

    def test_refused_polls_and_failed_calls(self) -> None:
        harness = Harness().init()
        heard: list[Any] = []
        harness.client.listen(heard.append)
        harness.discovery_fault("empty_list")
        harness.wait(6.0)
        assert [event.reason for event in heard if isinstance(event, PollRefused)] == ["empty_list"]
        harness.client.set_token("")
        with pytest.raises(StatusError):
            harness.call()
        (ended,) = [event for event in heard if isinstance(event, CallEnded)]
        assert (ended.error, ended.instance, len(ended.failed)) == ("StatusError", None, 1)
        harness.assert_clean()

    def test_a_listener_that_raises_does_not_affect_calls(self) -> None:
        harness = Harness().init()
        stop = harness.client.listen(lambda _: 1 / 0)
        assert harness.call() == "call 0"
        assert any("a listener failed" in event["log_format"] for event in harness.logged)
        stop()
        harness.logged.clear()
        harness.assert_clean()
