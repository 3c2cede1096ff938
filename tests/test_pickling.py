"""Values can be pickled and copied. Clients raise an error that says what to pass instead."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twisted.internet.task import Clock

import eas_tw
import eas_tw.aio
import eas_tw.blocking
from eas_tw import AttemptResult, AttemptStatus, ClientConfig, Instance, Outcome, PredictClient, bulk, errors
from eas_tw.blocking.errors import as_predict_exception
from eas_tw.body import schema
from eas_tw.net.discovery import DiscoveryStatus
from eas_tw.policy.instances import (
    Added,
    BadRowError,
    BadStatusError,
    DiscoveryReplyRejected,
    RejectReason,
    Reweighted,
    RowFault,
)
from eas_tw.service import ClientService, EasAgent
from eas_tw.telemetry import events
from eas_tw.telemetry.counters import Counters
from tests.body.kinds import KINDS
from tests.net.calling import Harness, response, says

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WAYS: dict[str, Callable[[Any], Any]] = {
    **{
        f"pickle {protocol}": lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol))  # noqa: S301
        for protocol in PROTOCOLS
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
INSTANCE = Instance("10.0.0.1", 80, 2.5)
ATTEMPTS = (
    AttemptResult(INSTANCE, Outcome(AttemptStatus.CONNECT_REFUSED, detail="refused"), 0.25),
    AttemptResult(INSTANCE, Outcome(AttemptStatus.STATUS, 503, retry_after_s=2.0), 1.5),
)
SECRET = "s3cr3t-t0ken"


def status_error() -> errors.StatusError:
    return errors.StatusError("said 503", ATTEMPTS, status=503, body=b"busy", headers={"retry-after": "2"})


def noted(error: Exception) -> Exception:
    error.add_note("a note")
    return error


ERRORS: dict[str, Exception] = {
    **{
        kind.__name__: kind("what, where and what to do")
        for kind in (
            errors.EasError, errors.ConfigError, errors.BodyError, errors.ClientClosed, errors.DiscoveryError,
            errors.NoInstances,
        )
    },
    **{
        kind.__name__: kind("what happened", ATTEMPTS)
        for kind in (
            errors.RequestFailed, errors.DeadlineExceeded, errors.ConnectionFailed, errors.ProtocolViolation,
            errors.Overloaded,
        )
    },
    "StatusError": status_error(),
    "StatusError, bare": errors.StatusError("said 400", status=400),
    "with a note": noted(status_error()),
    "TooManyErrors": bulk.TooManyErrors("2 of 3 rows failed", bulk.ScoringReport(rows=3, succeeded=1, failed=2)),
    "PredictException": as_predict_exception(errors.DeadlineExceeded("late", ATTEMPTS)),
    "PredictException of a status": as_predict_exception(status_error()),
    "PredictException of a mistake": as_predict_exception(errors.ConfigError("wrong")),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ERRORS)
def test_unpickled_errors_are_equal(name: str, way: str) -> None:
    error = ERRORS[name]
    twin = WAYS[way](error)
    assert twin == error
    assert hash(twin) == hash(error)
    assert (type(twin), str(twin), repr(twin), vars(twin)) == (type(error), str(error), repr(error), vars(error))


def test_errors_with_other_values_are_not_equal() -> None:
    error = status_error()
    others = [
        errors.StatusError("said 503", ATTEMPTS, status=500, body=b"busy", headers={"retry-after": "2"}),
        errors.StatusError("said 503", (), status=503, body=b"busy", headers={"retry-after": "2"}),
        errors.StatusError("else", ATTEMPTS, status=503, body=b"busy", headers={"retry-after": "2"}),
        errors.RequestFailed("said 503", ATTEMPTS),
        "said 503",
    ]
    assert error not in others
    assert as_predict_exception(error) != as_predict_exception(errors.StatusError("x", status=503, body=b"busy"))
    assert as_predict_exception(error) != error


@pytest.mark.parametrize("way", WAYS)
def test_a_predict_exception_keeps_its_cause(way: str) -> None:
    """`__cause__` is the typed error, although Python does not pickle causes."""
    cause = status_error()
    error = as_predict_exception(cause)
    error.__cause__ = cause
    twin = WAYS[way](error)
    assert twin.__cause__ == cause
    assert twin.attempts == ATTEMPTS


class Flagged(errors.StatusError):
    """An error class of a user, with another constructor."""

    def __init__(self, flag: str) -> None:
        super().__init__(f"flagged {flag}", ATTEMPTS, status=499)
        self.flag = flag


def test_unpickled_errors_of_derived_classes_are_equal() -> None:
    for way in WAYS.values():
        twin = way(Flagged("x"))
        assert (twin, twin.flag, twin.status) == (Flagged("x"), "x", 499)


@pytest.mark.parametrize("way", WAYS)
def test_unpickled_errors_of_discovery_are_equal(way: str) -> None:
    refused = WAYS[way](DiscoveryReplyRejected(RejectReason.EMPTY_LIST, "the list is empty"))
    assert (refused.reason, str(refused)) == (RejectReason.EMPTY_LIST, "the list is empty")
    bad = WAYS[way](BadStatusError(503))
    assert (bad.reason, bad.status, str(bad)) == (RejectReason.HTTP_STATUS, 503, "the reply has status 503")
    assert str(WAYS[way](BadRowError(RowFault.PORT, "port must be"))) == "port must be"


VALUES: dict[str, Any] = {
    "config": ClientConfig(timeout_s=2, retry_on=["status", 450], hedge_after_s="p95", seed=3),
    "scoring": bulk.Scoring(
        "http://x", "svc", config=ClientConfig(seed=3), encode="json:dumps", decode=len, rate_per_s=5, max_errors=0.1
    ),
    "options of a job": bulk.JobOptions(batch_size=2, headers={"a": "b"}),
    "report": bulk.ScoringReport(rows=3, succeeded=2, failed=1, errors={"StatusError": 1}, elapsed_s=0.5),
    "error row": bulk.ErrorRow.of(3, {"x": 1}, status_error()),
    "instance": INSTANCE,
    "outcome": ATTEMPTS[1].outcome,
    "attempts": ATTEMPTS,
    "attempt_status": AttemptStatus.RESPONSE_TRUNCATED,
    "counters": Counters(calls=3),
    "discovery": DiscoveryStatus(),
    "call ended": events.CallEnded("svc", 0.5, "StatusError", ATTEMPTS, INSTANCE, object()),
    "attempt ended": events.AttemptEnded("svc", INSTANCE, ATTEMPTS[0].outcome, 0.5, object(), ATTEMPTS[0]),
    "list changed": events.ListChanged("svc", (Added(INSTANCE), Reweighted(INSTANCE, 1))),
    "ejected": events.Ejected("svc", INSTANCE, "refused"),
    "returned": events.Returned("svc", INSTANCE),
    "watch opened": events.WatchOpened("svc", INSTANCE, 3, True),
    "watch lost": events.WatchLost("svc", INSTANCE, ATTEMPTS[0].outcome, 0.05),
    "frame received": events.FrameReceived("svc", INSTANCE, 3, False),
    "frames committed": events.FramesCommitted("svc", (1, 2), ""),
    "frame": eas_tw.Frame(3, {"requestId": "r"}, b"\0", "m"),
    "put result": eas_tw.PutResult(3, "r"),
    "blocking put result": eas_tw.blocking.PutResult(3, "r"),
    "search result": eas_tw.SearchResult(is_pending=True, wait_count=0),
    "poll refused": events.PollRefused("svc", "empty_list", "the list is empty"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", VALUES)
def test_unpickled_values_are_equal(name: str, way: str) -> None:
    twin = WAYS[way](VALUES[name])
    assert twin == VALUES[name]
    assert type(twin) is type(VALUES[name])


def test_unpickled_events_of_one_call_share_the_call() -> None:
    """The shared `call` has no reference to the client."""
    harness = Harness(1)
    harness.client.set_token(SECRET)
    heard: list[Any] = []
    harness.client.listen(heard.append)
    harness.call()
    says(harness.accept(), response())
    attempt, call = heard[-2:]
    assert attempt.call is call.call
    for way in ("pickle 2", f"pickle {pickle.HIGHEST_PROTOCOL}", "deepcopy"):
        first, second = WAYS[way]((attempt, call))
        assert (first, second) == (attempt, call)
        assert first.call is second.call is not call.call
    assert len(pickle.dumps((attempt, call))) < 1000
    harness.assert_clean()


def tensors() -> dict[str, Any]:
    """Return requests with tensors: one of each class, and two with other contents and options."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    made: dict[str, Any] = {}
    for name, kind in KINDS.items():
        request = kind.request()
        kind.feed(request, [2, 3], request.DT_FLOAT if hasattr(request, "DT_FLOAT") else None, array)
        made[name] = request
    tf = eas_tw.TFRequest("predict")
    tf.add_feed("view", [2, 3], tf.DT_FLOAT, memoryview(array))
    tf.add_feed("text", [1], tf.DT_STRING, ["名"])
    tf.add_fetch("scores")
    torch = eas_tw.TorchRequest(flag=True)
    torch.add_feed_map("x", [6], torch.DT_INT64, np.arange(6))
    torch.add_fetch(1)
    return {**made, "tf, more": tf, "torch, snappy": torch}


def recommendations() -> dict[str, Any]:
    easyrec = eas_tw.EasyRecRequest("sig")
    easyrec.add_user_fea_flt("age", 1.5)
    easyrec.add_item_id("i1")
    torchrec = eas_tw.TorchRecRequest()
    torchrec.add_user_fea("ids", [1, 2], "LIST<BIGINT>")
    torchrec.add_item_id("i1")
    return {"easyrec": easyrec, "torchrec": torchrec}


def requests() -> dict[str, Any]:
    return {
        **tensors(),
        **recommendations(),
        "text": eas_tw.StringRequest("[1]"),
        "json": eas_tw.JsonRequest({"a": [1]}),
        "blocking": eas_tw.blocking.StringRequest(b"\0"),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", requests())
def test_unpickled_requests_are_equal(name: str, way: str) -> None:
    """An unpickled request also has the same bytes."""
    request = requests()[name]
    twin = WAYS[way](request)
    assert twin == request
    assert twin.to_string() == request.to_string()
    assert type(twin) is type(request)
    assert repr(twin) == repr(request)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*tensors(), *recommendations()])
def test_a_change_of_a_copied_request_does_not_change_the_original(name: str, way: str) -> None:
    """A shallow copy is independent of the original, too."""
    request = requests()[name]
    before, twin = request.to_string(), WAYS[way](request)
    if name in KINDS:
        KINDS[name].feed(twin, [1], None, np.ones(1, np.float32))
    elif name in {"easyrec", "torchrec"}:
        twin.add_item_id("i2")
    else:
        twin.add_fetch("another" if name.startswith("tf") else 7)
    assert request.to_string() == before
    assert twin != request


def test_requests_with_other_bytes_are_not_equal() -> None:
    made = list(requests().values())
    for at, request in enumerate(made):
        assert request not in made[:at]
    assert eas_tw.StringRequest("[1]") != eas_tw.StringRequest("[2]")
    assert len({eas_tw.StringRequest("[1]"), eas_tw.StringRequest("[1]"), eas_tw.JsonRequest([1])}) == 2


def responses() -> dict[str, Any]:
    made: dict[str, Any] = {
        "text": eas_tw.StringResponse(b"[1]"),
        "json": eas_tw.JsonResponse(b'{"a": [1]}'),
        "blocking": eas_tw.blocking.StringResponse(b"\xff"),
    }
    for name, kind in KINDS.items():
        body = kind.answer(kind.message("DT_FLOAT", [2], [0.5, 1]) if name != "caffe" else caffe_array())
        made[name] = kind.request().parse_response(body)
    easyrec = schema.message("eas_tw.easyrec.PBResponse")()
    easyrec.results["i1"].scores.append(0.5)
    made["easyrec"] = eas_tw.EasyRecResponse(easyrec.SerializeToString())
    torchrec = schema.message("eas_tw.torchrec.PBResponse")()
    torchrec.item_ids.append("i1")
    made["torchrec"] = eas_tw.TorchRecResponse(torchrec.SerializeToString())
    return made


def caffe_array() -> Any:
    array = schema.message("eas_tw.caffe.ArrayProto")()
    array.shape.dim.append(2)
    array.data.extend([0.5, 1]) if hasattr(array, "data") else array.float_val.extend([0.5, 1])
    return array


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", responses())
def test_unpickled_responses_are_equal(name: str, way: str) -> None:
    made = responses()[name]
    twin = WAYS[way](made)
    assert twin == made
    assert hash(twin) == hash(made)
    assert type(twin) is type(made)
    assert (twin.content, repr(twin)) == (made.content, repr(made))
    if name in KINDS:
        assert twin.get_values(KINDS[name].key) == [0.5, 1]
    if name == "easyrec":
        assert list(twin.results["i1"].scores) == [0.5]


@pytest.mark.parametrize("way", WAYS)
def test_unpickled_messages_are_equal(way: str) -> None:
    """The messages of a request and those of a response are tested."""
    tensor = eas_tw.OnnxDataHelper.from_array(np.arange(3), "x")
    found = responses()["easyrec"].results["i1"]
    for message in (tensor, found, responses()["torchrec"].message):
        twin = WAYS[way](message)
        assert twin == message
        assert type(twin) is type(message)


def clients() -> dict[str, Any]:
    """Return clients with a token, and objects that contain such a client."""
    given = ("http://127.0.0.1:1", "svc")
    late = eas_tw.aio.PredictClient(*given)
    late.set_token(SECRET)
    plain = PredictClient("", "svc", token=SECRET, reactor=Clock(), instances=[("10.0.0.1", 80)],
                          config=ClientConfig(auth="token"))  # fmt: skip
    plain.init()
    client = PredictClient(*given, token=SECRET, reactor=Clock())
    queue = eas_tw.QueueClient(*given, token=SECRET, reactor=Clock())
    queue_aio = eas_tw.aio.QueueClient(*given, token=SECRET)
    queue_blocking = eas_tw.blocking.QueueClient(*given, token=SECRET)
    return {
        "Twisted": client,
        "in use": plain,
        "child": client.child("other", token=SECRET),
        "asyncio": eas_tw.aio.PredictClient(*given, token=SECRET),
        "asyncio, set later": late,
        "blocking": eas_tw.blocking.PredictClient(*given, token=SECRET),
        "queue": queue,
        "queue, asyncio": queue_aio,
        "queue, blocking": queue_blocking,
        "sink": queue.sink(),
        "sink, asyncio": queue_aio.sink(),
        "sink, blocking": queue_blocking.sink(),
        "service": ClientService(client),
        "agent": EasAgent(client),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", clients())
def test_pickling_a_client_is_an_error_of_one_line(name: str, way: str) -> None:
    client = clients()[name]
    with pytest.raises(TypeError) as caught:
        WAYS[way](client)
    text = str(caught.value)
    assert text.startswith(f"{type(client).__name__} cannot be pickled or copied")
    assert "endpoint" in text
    assert "ClientConfig" in text
    assert "token from the environment" in text
    assert "\n" not in text


OPENED = {
    "watcher": eas_tw.Watcher,
    "watcher, asyncio": eas_tw.aio.queue.Watcher,
    "watcher, blocking": eas_tw.blocking.queue.Watcher,
    "stream": eas_tw.streaming.Stream,
    "stream, blocking": eas_tw.blocking.stream.Stream,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPENED)
def test_pickling_a_stream_or_watcher_is_an_error_of_one_line(name: str, way: str) -> None:
    kind = OPENED[name]
    with pytest.raises(TypeError, match=f"^{kind.__name__} cannot be pickled or copied: its connections"):
        WAYS[way](kind.__new__(kind))


def shown_of(value: Any, depth: int = 4) -> str:
    """Return repr, text and attributes of a value, and of the objects of this package that it contains."""
    seen = [repr(value), str(value)]
    if depth and type(value).__module__.startswith(("eas_tw", "builtins")):
        parts = list(vars(value).values()) if hasattr(value, "__dict__") else []
        parts += [getattr(value, name) for name in getattr(type(value), "__slots__", ()) if hasattr(value, name)]
        parts += list(value.values()) if isinstance(value, dict) else []
        parts += list(value) if isinstance(value, list | tuple | set) and not hasattr(value, "_fields") else []
        seen += [shown_of(part, depth - 1) for part in parts]
    return "\n".join(seen)


@pytest.mark.parametrize("name", clients())
def test_nothing_that_a_client_holds_shows_the_token(name: str) -> None:
    client = clients()[name]
    assert SECRET not in shown_of(client)
    assert SECRET not in repr(vars(client))
    for name_of_part in ("counters", "discovery", "config", "instances"):
        assert SECRET.encode() not in pickle.dumps(getattr(client, name_of_part, None))


def test_a_token_that_is_kept_cannot_be_pickled() -> None:
    client = clients()["asyncio"]
    for way in WAYS.values():
        with pytest.raises(TypeError, match="token cannot be pickled"):
            way(client._arguments["token"])
