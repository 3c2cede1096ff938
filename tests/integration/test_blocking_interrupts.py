"""A signal handler that raises while a thread waits: the result that has just arrived is not lost or left open."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, succeed

from eas_tw import ConfigError
from eas_tw.blocking import PredictClient
from eas_tw.blocking.loop import own_loop
from eas_tw.blocking.stream import Stream
from eas_tw.telemetry.events import CallEnded
from tests.integration.conftest import TOKEN
from tests.net.calling import Harness, Result, says
from tests.net.test_streams import chunk, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulator.serving import Served


def interrupt() -> None:
    """Send Ctrl-C to the main thread; its handler raises there before the main thread can take a later result."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_result_that_an_interrupt_loses_is_undone(*, is_late: bool) -> None:
    """A late result is one of a Deferred that cannot be cancelled."""
    undone: list[str] = []
    loop = own_loop()

    def work() -> Deferred[str]:
        interrupt()
        return Deferred(lambda late: late.callback("result")) if is_late else succeed("result")

    with pytest.raises(KeyboardInterrupt):
        loop.run(work, undone.append)
    loop.run(lambda: succeed(None))
    assert undone == ["result"]


def test_work_that_fails_when_it_is_interrupted_is_not_undone() -> None:
    undone: list[str] = []
    loop = own_loop()

    def work() -> Deferred[str]:
        interrupt()
        return Deferred()

    with pytest.raises(KeyboardInterrupt):
        loop.run(work, undone.append)
    loop.run(lambda: succeed(None))
    assert undone == []


def test_a_result_that_arrives_without_an_interrupt_is_not_undone() -> None:
    undone: list[str] = []
    assert own_loop().run(lambda: succeed("result"), undone.append) == "result"
    with pytest.raises(ConfigError):
        own_loop().run(_failing, undone.append)
    assert undone == []


def test_a_stream_that_loses_a_piece_by_an_interrupt_is_closed() -> None:
    """A reader that continued would get a body without this piece."""
    harness = Harness()
    inner, wire = opened(harness)

    def interrupted(work: Callable[[], Any], undo: Callable[[Any], object] | None = None) -> Any:
        piece = Result(work()).value
        assert undo is not None
        undo(piece)
        raise KeyboardInterrupt

    says(wire, chunk(b"lost"))
    with pytest.raises(KeyboardInterrupt):
        next(iter(Stream(inner, interrupted)))
    assert not wire.is_open
    harness.assert_clean()


def test_a_stream_that_opens_during_an_interrupt_is_closed(served: Served) -> None:
    with PredictClient(served.ready["url"], "echo", token=TOKEN, endpoint_type="DIRECT") as client:
        client.wait_until_ready()
        stop = client.listen(lambda event: interrupt() if isinstance(event, CallEnded) else None)
        with pytest.raises(KeyboardInterrupt):
            client.stream(bytes(1 << 20))
        stop()
        own_loop().run(lambda: succeed(None))
        assert client.counters.streams_broken == {"cancelled": 1}


def _failing() -> Deferred[str]:
    raise ConfigError("wrong")
