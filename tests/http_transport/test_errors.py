"""Each exception of eas_tw is converted to an exception class of the library."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from eas_tw import AttemptResult, AttemptStatus, Instance, Outcome, StatusError, errors
from eas_tw.http_transport import Library
from eas_tw.http_transport.errors import NAMES, library_error, typed_cause
from tests.http_transport.conftest import Kit

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EasError)]
INSTANCE = Instance("10.0.0.1", 80)
NETWORK = {
    AttemptStatus.CONNECT_REFUSED: "ConnectError",
    AttemptStatus.CONNECT_TIMEOUT: "ConnectTimeout",
    AttemptStatus.LOST: "RemoteProtocolError",
    AttemptStatus.RESPONSE_TRUNCATED: "RemoteProtocolError",
    AttemptStatus.QUEUE_TIMEOUT: "PoolTimeout",
    AttemptStatus.UNRESPONSIVE: "ReadTimeout",
    AttemptStatus.CANCELLED: "ReadError",
}


def library(kit: Kit) -> Library:
    return Library(kit.http, None, None)


def example(kind: type[errors.EasError], status: AttemptStatus | None = None) -> Any:
    options: Any = {"status": 500} if kind is StatusError else {}
    if status is not None:
        options["attempts"] = (AttemptResult(INSTANCE, Outcome(status), 0.1),)
    return kind("what happened", **options)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_class_of_the_library(kit: Kit, kind: type[errors.EasError]) -> None:
    assert kind in NAMES
    made = library_error(library(kit), example(kind))
    assert isinstance(made, kit.http.TransportError)
    assert (type(made).__name__, str(made)) == (NAMES[kind], "what happened")


@pytest.mark.parametrize("status", AttemptStatus)
@pytest.mark.parametrize("kind", [errors.ConnectionFailed, errors.DeadlineExceeded, errors.StreamBroken])
def test_the_status_of_the_last_attempt_selects_the_class(
    kit: Kit, kind: type[errors.EasError], status: AttemptStatus
) -> None:
    made = library_error(library(kit), example(kind, status))
    assert isinstance(made, kit.http.TransportError)
    if kind is errors.DeadlineExceeded:
        assert isinstance(made, kit.http.TimeoutException)
    else:
        assert type(made).__name__ == NETWORK.get(status, type(made).__name__)


def test_an_error_of_a_subclass_has_the_class_of_its_base(kit: Kit) -> None:
    class Own(errors.Overloaded):
        pass

    assert isinstance(library_error(library(kit), Own("x")), kit.http.PoolTimeout)


def test_an_exception_without_a_cause_gets_an_error_of_eas_tw_as_its_cause() -> None:
    assert typed_cause(ValueError("x")) == errors.EasError("x")
