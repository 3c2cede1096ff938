"""From `init` to `close`, and what is told on the way."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.python.failure import Failure

from eas_tw import ClientClosed, ConfigError, DiscoveryError, NoInstances, StatusError
from eas_tw.telemetry.events import AttemptEnded, CallEnded, Ejected, ListChanged, PollRefused, Returned
from tests.simulation.house import TOKEN, House


class TestDiskCopy:
    """A start without discovery."""

    def test_a_start_without_discovery_uses_the_copy_and_says_so(self, tmp_path: Path) -> None:
        """After `init`'s bound; marked stale, until discovery answers."""
        first = House(snapshot_path=str(tmp_path)).init()
        known = first.client.instances
        first.assert_clean()
        second = House(snapshot_path=str(tmp_path), init_timeout_s=3.0)
        second.lie("unreachable")
        second.init()
        assert second.client.instances == known
        assert second.client.discovery.is_stale
        assert second.client.discovery.age_s is not None
        assert second.call() == "call 0"
        second.heal()
        second.wait(10.0)
        assert not second.client.discovery.is_stale
        second.assert_clean()

    def test_it_is_not_used_while_there_is_time_to_ask(self, tmp_path: Path) -> None:
        """Discovery that comes back within the bound is what counts."""
        House(snapshot_path=str(tmp_path)).init().assert_clean()
        house = House(snapshot_path=str(tmp_path), init_timeout_s=5.0)
        house.lie("http_status", code=500)
        starting = house.client.init()
        house.wait(1.0)
        assert house.client.instances == ()
        house.heal()
        house.run(starting)
        assert not house.client.discovery.is_stale
        house.assert_clean()

    def test_without_a_copy_the_start_fails_as_ever(self, tmp_path: Path) -> None:
        """A first start has none."""
        house = House(snapshot_path=str(tmp_path), init_timeout_s=1.0)
        house.lie("unreachable")
        with pytest.raises(DiscoveryError):
            house.init()
        house.assert_clean()


class TestLife:
    """Each use at the wrong time or place is a clear error."""

    def error(self, house: House) -> Any:
        failures: list[Failure] = []
        house.client.predict("x").addErrback(failures.append)
        (failure,) = failures
        return failure.value

    def test_before_init_during_and_after_close(self) -> None:
        """And `init` and `close` may be called twice."""
        house = House()
        assert isinstance(self.error(house), NoInstances)
        house.init()
        house.init()
        house.instance(0).hang()
        house.begin_call()
        closing = house.client.close()
        assert isinstance(self.error(house), ClientClosed)
        house.run(house.client.close())
        house.run(closing)
        assert isinstance(self.error(house), ClientClosed)
        with pytest.raises(ClientClosed):
            house.init()

    def test_from_another_thread(self) -> None:
        """The error says what to use instead, and nothing was sent."""
        house = House().init()
        errors: list[Any] = []
        thread = Thread(target=lambda: errors.append(self.error(house)))
        thread.start()
        thread.join()
        assert isinstance(errors[0], ConfigError)
        assert "callFromThread" in str(errors[0])
        assert house.client.counters.calls == 0
        house.assert_clean()

    def test_a_rotated_token_applies_to_the_next_call(self) -> None:
        """No reconnect, no restart."""
        house = House().init()
        house.client.set_token("stolen")
        with pytest.raises(StatusError, match="401"):
            house.call()
        house.client.set_token(TOKEN)
        assert house.call() == "call 0"
        house.assert_clean()

    def test_one_budget_a_service(self) -> None:
        """A child of the same service shares it, one of another has its own."""
        house = House().init()
        same, other = house.client.child("echo", token=TOKEN), house.client.child("other")
        house.run(same.init())
        assert same._session is not None
        assert house.client._session is not None
        assert same._session.calls.budget is house.client._session.calls.budget
        other.init().addErrback(lambda failure: failure.trap(ClientClosed, DiscoveryError))
        assert other._session is not None
        assert other._session.calls.budget is not same._session.calls.budget
        house.assert_clean()


class TestEvents:
    """What a listener hears."""

    def test_the_story_of_a_crash(self) -> None:
        """List, attempts, calls, ejection, return: each once, in order, with no token."""
        house = House()
        heard: list[Any] = []
        stop = house.client.listen(heard.append)
        house.init()
        house.traffic(1.0)
        house.instance(0).crash()
        house.traffic(1.0)
        house.instance(0).resume()
        house.traffic(10.0)
        kinds = [type(event) for event in heard]
        assert kinds[0] is ListChanged
        assert kinds.count(CallEnded) == house.started == house.client.counters.calls
        assert kinds.count(AttemptEnded) == house.client.counters.attempts.total()
        assert kinds.count(Ejected) == house.client.counters.ejections.total() > 0
        assert kinds.count(Returned) == 1
        failovers = [event for event in heard if isinstance(event, CallEnded) and event.failed]
        assert all(event.instance != event.failed[0].instance and not event.error for event in failovers)
        assert {event.service for event in heard} == {"echo"}
        stop()
        house.call()
        assert len(heard) == len(kinds)
        assert TOKEN not in repr(heard)
        house.assert_clean()

    def test_refused_polls_and_failed_calls(self) -> None:
        """By reason and by error."""
        house = House().init()
        heard: list[Any] = []
        house.client.listen(heard.append)
        house.lie("empty_list")
        house.wait(6.0)
        assert [event.reason for event in heard if isinstance(event, PollRefused)] == ["empty_list"]
        house.client.set_token("")
        with pytest.raises(StatusError):
            house.call()
        (ended,) = [event for event in heard if isinstance(event, CallEnded)]
        assert (ended.error, ended.instance, len(ended.failed)) == ("StatusError", None, 1)
        house.assert_clean()

    def test_a_listener_that_raises_harms_nobody(self) -> None:
        """It is logged as its own bug; calls go on."""
        house = House().init()
        stop = house.client.listen(lambda _: 1 / 0)
        assert house.call() == "call 0"
        assert any("a listener failed" in event["log_format"] for event in house.logged)
        stop()
        house.logged.clear()
        house.assert_clean()
