"""Forwarding of eas_tw's log events from `twisted.logger` to `logging`, for programs that do not use Twisted."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner, globalLogPublisher
from zope.interface import provider

if TYPE_CHECKING:
    from twisted.logger import LogEvent

LOGGER = logging.getLogger("eas_tw")
LOGGER.addHandler(logging.NullHandler())  # keeps `logging` from printing warnings if the program has no handlers

_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}


@functools.cache
def forward_logs() -> None:
    """Start forwarding. A second call in the same process does nothing, so that no line is logged twice."""
    globalLogPublisher.addObserver(_forward)


@provider(ILogObserver)
def _forward(event: LogEvent) -> None:
    namespace = event.get("log_namespace") or ""
    if not namespace.startswith("eas_tw") or _is_observed_by_the_program():
        return
    failure = event.get("log_failure")
    trace = (failure.type, failure.value, failure.getTracebackObject()) if failure is not None else None
    level = _LEVELS.get(event["log_level"], logging.INFO)
    logging.getLogger(namespace).log(level, "%s", formatEvent(event), exc_info=trace)


def _is_observed_by_the_program() -> bool:
    """Return whether the program has installed a Twisted log observer.

    Such an observer receives these events directly. If it writes to `logging` (as `STDLibLogObserver` and Scrapy's
    observer do), forwarding would print each line twice. The check runs for each event, because the observer may be
    installed after the client; `beginLoggingTo` then replays earlier events to all observers, and these events are
    skipped as well.
    """
    buffer = globalLogBeginner._temporaryObserver  # noqa: SLF001  beginLoggingTo removes it; no public attribute has it
    return buffer is None or any(observer not in (buffer, _forward) for observer in globalLogPublisher._observers)  # noqa: SLF001
