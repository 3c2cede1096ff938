"""Shared parts of the drivers: the command line, and the measurement while all streams run."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


def options() -> argparse.Namespace:
    """Parse a driver's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--streams", type=int, default=1, help="number of concurrent streams")
    parser.add_argument("--transport", action="store_true", help="for httpx2 and openai: use the transport of eas_tw")
    parser.add_argument("--events", action="store_true", help="for aiohttp: parse events instead of lines")
    parser.add_argument("--pieces", action="store_true", help="read bytes as they arrive, instead of events or lines")
    return parser.parse_args()


class Watch:
    """Measures while all streams run: from the last stream's first event to the end of the first stream.

    CPU and events do not include the time in which streams connect, nor the time after the end of the first stream:
    clients connect at different speeds, so their streams end together or one by one. A reactor that wakes up for fewer
    streams has a higher cost per event, which would be counted as a difference between the clients.
    """

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self._before_kb = _rss_kb()
        self._first_s: list[float] = []
        self._delays_s: list[float] = []
        self._events = 0
        self._at_mark = 0
        self._found: dict[str, float] | None = None

    def first(self, began: float, sent: float) -> None:
        """Record the first event of a stream.

        Args:
            began: The time of the stream's request, in seconds of `time.monotonic`.
            sent: The time at which the server sent the event, in the same form.
        """
        now = time.monotonic()
        self._first_s.append(now - began)
        self._delays_s.append(now - sent)
        self._events += 1
        if len(self._first_s) == self._streams:
            self._open_kb = _rss_kb()
            self._at_mark = self._events
            self._cpu_s, self._wall_s = _cpu_s(), time.monotonic()

    def more(self) -> None:
        """Record a further event."""
        self._events += 1

    def ended(self) -> None:
        """Record the figures when the first stream ends."""
        if self._found is not None:
            return
        if len(self._first_s) < self._streams:
            raise SystemExit("a stream ended before all had begun: measure for longer (--seconds)")
        events = self._events - self._at_mark
        self._found = {
            "events": events,
            "cpu_us_per_event": (_cpu_s() - self._cpu_s) / events * 1e6,
            "events_per_s": events / (time.monotonic() - self._wall_s),
            "first_event_ms": statistics.median(self._first_s) * 1000,
            "delay_ms": statistics.median(self._delays_s) * 1000,
            "kb_per_stream": (self._open_kb - self._before_kb) / self._streams,
        }

    def report(self) -> None:
        """Print the figures as one line of JSON."""
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**(self._found or {}), "peak_mb": peak_mb}), flush=True)


def sent_at(data: str | bytes) -> float:
    """Return the time at which an event was sent; `data` is the event's data, or a piece that begins with it."""
    text = data.decode() if isinstance(data, bytes) else data
    sent: float = json.loads(text.removeprefix("data: ").partition("\n")[0])["sent"]
    return sent


def _rss_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1024


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
