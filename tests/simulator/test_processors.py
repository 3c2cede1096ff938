"""Processors: their names and codecs. The simulator works although a processor fails or blocks."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, inlineCallbacks

from simulator import ServiceSpec
from simulator.processors import BUILT_IN, CODECS, Later, ProcessorError, Tensor, UserProcessor, find
from simulator.processors.arrays import decode, make
from tests.patience import PATIENCE_S, until
from tests.simulator.raw import SILENCE, Raw, request
from tests.simulator.region import Region
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Processors of a user. Some never return.
MINE = """
import time
from twisted.internet import defer, task

def shout(body):
    return body.upper()

def block(body):
    time.sleep(3600)  # never returns within a test: the simulator must outlive it

def spin(body):
    while True:
        pass

async def block_everybody(body):
    time.sleep(3600)  # blocks the event loop of the processor's process for good

def leave(body):
    raise SystemExit("I leave")

def fail(body):
    raise ValueError("no such feature: " + body.decode())

def later(body):
    from twisted.internet import reactor
    return task.deferLater(reactor, 0.05, lambda: b"later " + body)

async def twice(body):
    return await later(body) + b"," + await later(body)

class Model:
    def __call__(self, value):
        return {"sum": sum(value["numbers"])}

    async def greet(self, text):
        return f"hello {text}"

model = Model()
"""


def test_a_processor_is_found_by_its_name() -> None:
    """Built-in processors have a name. Processors of a user are `MODULE:CALLABLE`. Both may have a codec."""
    assert find("", "mnist_x") is BUILT_IN["mnist"]
    assert find("", "x") is BUILT_IN["echo"]
    assert find(BUILT_IN["mnist"], "x") is BUILT_IN["mnist"]
    assert find("json+json:dumps", "x") == UserProcessor(find("json:dumps", "x").function, CODECS["json"])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nonsense", "processor must be echo, mnist"),
        ("sleep:soon", "processor sleep:soon: expected a number of seconds"),
        ("xml+json:dumps", "codec must be one of bytes, text, json"),
        ("json:no_such", "AttributeError"),
        ("no_such_module:x", "ModuleNotFoundError"),
        ("json:__name__", "is a str, not a callable"),
        (":x", "processor must be"),
    ],
)
def test_the_error_of_an_unknown_processor_gives_the_reason(name: str, says: str) -> None:
    with pytest.raises(ProcessorError, match=says):
        find(name, "x")


def test_a_script_that_ends_the_program_when_it_is_imported_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script_of_a_processor.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProcessorError, match="processor script_of_a_processor:f: SystemExit: 0"):
        find("script_of_a_processor:f", "x")


def test_coroutine_functions_run_in_the_reactors_thread() -> None:
    """A function whose annotated return type is Deferred runs there, too. Other functions run in another thread."""

    async def coroutine(_: Any) -> None: ...

    @inlineCallbacks
    def generator(_: Any) -> Iterator[Any]:
        yield

    def declared(_: Any) -> Deferred[bytes]:
        return Deferred()

    def ordinary(_: Any) -> bytes:
        return b""

    class Model:
        async def __call__(self, _: Any) -> None: ...

    found = [UserProcessor(each).is_patient for each in (coroutine, generator, declared, Model(), ordinary, len)]
    assert found == [True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("processor", "body", "after_s"),
    [("sleep", b"0.25", 0.25), ("sleep:2", b"x", 2.0), ("sleep:uniform:1,1", b"x", 1.0)],
)
def test_sleep_responds_after_the_delay(processor: str, body: bytes, after_s: float) -> None:
    """The delay is in the body, or in the name of the processor."""
    region = Region(ServiceSpec("s", processor=processor))
    wire = region.ask(body)
    began = region.scheduler.seconds()
    region.wait(4.0)
    assert (wire.status, wire.body) == (200, body)
    assert wire.at_s - began == pytest.approx(after_s, abs=0.02)
    region.close()


def test_a_callable_may_return_a_later_response() -> None:
    region = Region(
        ServiceSpec("s", processor=UserProcessor(lambda text: Later("uniform:1,2", text * 2), CODECS["text"]))
    )
    wire = region.ask(b"ab")
    region.wait(0.9)
    assert wire.received == b""
    region.wait(1.2)
    assert (wire.status, wire.body) == (200, b"abab")
    region.close()


@pytest.mark.parametrize("body", [b"soon", b"-1", b"inf", b"nan", b""])
def test_sleep_with_an_invalid_delay_is_a_400(body: bytes) -> None:
    """A valid delay is a number of seconds from 0 to 3600."""
    region = Region(ServiceSpec("s", processor="sleep"))
    wire = region.ask(body)
    region.wait(0.1)
    assert wire.status == 400
    assert b"a number of seconds from 0 to 3600" in wire.body
    region.close()


def test_named_tensors() -> None:
    """The callable gets the tensors of a `TFRequest` by name, and returns those of a `TFResponse`."""
    from eas_tw import TFRequest  # noqa: PLC0415

    def double(inputs: Any) -> Any:
        assert inputs.signature_name == "serve"
        x = inputs["x"]
        return {"y": Tensor(x.shape, [2 * value for value in x.values], x.dtype), "n": Tensor((1,), [len(inputs)], 9)}

    asked = TFRequest("serve")
    asked.add_feed("x", [2, 2], TFRequest.DT_FLOAT, [1, 2, 3, 4])
    asked.add_feed("who", [1], TFRequest.DT_STRING, [b"me"])
    region = Region(ServiceSpec("s", processor=UserProcessor(double, CODECS["tf"])))
    wire = region.ask(asked.to_string())
    region.wait(0.1)
    answer = asked.parse_response(wire.body)
    assert (answer.get_tensor_shape("y"), list(answer.get_values("y"))) == ([2, 2], [2, 4, 6, 8])
    assert list(answer.get_values("n")) == [2]
    wire = region.ask(b"\xff\xff")
    region.wait(0.1)
    assert (wire.status, wire.body[:36]) == (400, b"the body is not a PredictRequest: Er")
    region.close()


def test_messages_of_every_other_kind() -> None:
    """The callable gets a decoded protobuf message and returns one. An invalid message is status 400."""

    def rank(request: Any) -> Any:
        response = make("easyrec.PBResponse")
        for item in request.item_ids:
            response.results[item].scores.append(len(item))
        return response

    region = Region(ServiceSpec("s", processor=UserProcessor(rank, CODECS["easyrec"])))
    asked = make("easyrec.PBRequest")
    asked.item_ids.extend(["a", "abc"])
    wire = region.ask(asked.SerializeToString())
    region.wait(0.1)
    answer = decode("easyrec.PBResponse", wire.body)
    assert {item: list(found.scores) for item, found in answer.results.items()} == {"a": [1.0], "abc": [3.0]}
    for name in ("torch", "blade", "caffe", "onnx", "easyrec", "torchrec"):
        with pytest.raises(ValueError, match=f"the body is not a {name}"):
            CODECS[name].decode(b"\xff\xff")
    region.close()


@pytest.mark.parametrize(
    ("shape", "values", "dtype", "says"),
    [((2,), [1], 1, "needs 2 values, got 1"), ((1,), [1], 8, "dtype must be one of 1, 2")],
)
def test_an_invalid_tensor_of_a_callable_is_an_error(shape: Any, values: Any, dtype: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Tensor(shape, values, dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    found: Path = tmp_path_factory.mktemp("mine")
    (found / "mine.py").write_text(MINE)
    return found


@pytest.mark.parametrize(
    ("processor", "body", "expected"),
    [
        ("mine:shout", b"hey", (200, b"HEY")),
        ("mine:later", b"x", (200, b"later x")),
        ("mine:twice", b"x", (200, b"later x,later x")),
        ("mine:fail", b"f1", (400, b"no such feature: f1")),
        ("mine:leave", b"", (400, b"I leave")),
        ("json+mine:model", b'{"numbers": [1, 2]}', (200, b'{"sum": 3}')),
        (
            "json+mine:model",
            b"{",
            (400, b"Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ),
        ("text+mine:model.greet", "wörld".encode(), (200, "hello wörld".encode())),
    ],
)
def test_a_users_callables(folder: Path, processor: str, body: bytes, expected: tuple[int, bytes]) -> None:
    """A callable may return a value, a Deferred or a coroutine, with or without a codec. Exceptions are status 400."""
    with Served(folder, "--service", "s=1", "--token", "", "--processor", processor) as served:
        for _ in range(2):
            assert served.predict("s", body) == expected
    assert served.code == 0


@pytest.mark.parametrize("processor", ["mine:block", "mine:spin"])
def test_a_processor_that_never_returns_blocks_only_its_workers(folder: Path, processor: str) -> None:
    """With two workers and no queue, the third request is 450. Discovery works, and a signal ends the process."""
    limits = ("--workers", "2", "--queue", "0", "--keepalive", "0")
    with Served(folder, "--service", "s=1", "--token", "", "--processor", processor, *limits) as served:
        instance = served.instances[0]
        with Raw(instance).send(request(b"", "s")), Raw(instance).send(request(b"", "s")):
            until(lambda: served.admin("GET", "/v1/services/s/instances/s-0")[1]["in_flight"] == 2)
            assert served.predict("s", b"")[0] == 450
            assert len(served.discover("s")) == 1
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("processor", ["mine:block", "mine:spin"])
def test_a_processor_that_never_returns_is_408_after_the_time_limit(folder: Path, processor: str) -> None:
    """The time limit is the service's `keepalive`. The worker stays busy."""
    limits = ("--workers", "2", "--queue", "0", "--keepalive", "0.3")
    with Served(folder, "--service", "s=1", "--token", "", "--processor", processor, *limits) as served:
        instance = served.instances[0]
        with Raw(instance).send(request(b"", "s")) as first, Raw(instance).send(request(b"", "s")) as second:
            assert [raw.response()[0] for raw in (first, second)] == [408, 408]
        assert served.predict("s", b"")[0] == 450
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_S) == 0


def test_sigterm_ends_a_process_whose_reactor_is_blocked(folder: Path) -> None:
    """The coroutine of a user blocks the reactor, so nothing else works, but SIGTERM still ends the process cleanly."""
    with (
        Served(folder, "--service", "s=1", "--token", "", "--processor", "mine:block_everybody") as served,
        Raw(served.instances[0]).send(request(b"", "s")) as raw,
    ):
        assert raw.read(wait_s=0.2) == SILENCE
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_S) == 0
    assert not served.ready_file.exists()
