"""What eas_tw logs, into the standard library's `logging`: where a program without Twisted looks for it."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

if TYPE_CHECKING:
    from twisted.logger import LogEvent

LOGGER = logging.getLogger("eas_tw")
LOGGER.addHandler(logging.NullHandler())  # a library prints nothing to a program that has not asked

_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}


@functools.cache
def pass_logs_on() -> None:
    """Begin, once."""
    globalLogPublisher.addObserver(_pass_on)


@provider(ILogObserver)
def _pass_on(event: LogEvent) -> None:
    namespace = event.get("log_namespace") or ""
    if not namespace.startswith("eas_tw"):
        return
    failure = event.get("log_failure")
    trace = (failure.type, failure.value, failure.getTracebackObject()) if failure is not None else None
    level = _LEVELS.get(event["log_level"], logging.INFO)
    logging.getLogger(namespace).log(level, "%s", formatEvent(event), exc_info=trace)
