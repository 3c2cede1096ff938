"""Conversion of a client's counters to Scrapy stats, named like those of Scrapy's downloader and retry middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from eas_tw import PredictClient

SCORED = "eas/item_scored_count"
ITEM_ERRORS = "eas/item_error_count"


@define
class Latency:
    """The latencies of the calls that received a response.

    Attributes:
        count: The number of calls.
        total_s: The sum of their latencies, in seconds.
        max_s: The largest latency, in seconds.
    """

    count: int = 0
    total_s: float = 0.0
    max_s: float = 0.0

    def record(self, elapsed_s: float) -> None:
        """Add the latency of a call, in seconds."""
        self.count += 1
        self.total_s += elapsed_s
        self.max_s = max(self.max_s, elapsed_s)


def crawl_stats(client: PredictClient, latency: Latency, peak: int) -> dict[str, float]:
    """Return the stats of a crawl by name.

    Args:
        client: The crawl's client.
        latency: The latencies of the client's calls.
        peak: The largest number of calls that were in flight at the same time.
    """
    counters, discovery = client.counters, client.discovery
    statuses = {reason: count for reason, count in counters.failures.items() if reason.isdigit()}
    exceptions = {reason: count for reason, count in counters.failures.items() if not reason.isdigit()}
    ok = counters.attempts.total() - counters.failures.total()
    stats: dict[str, float] = {
        "eas/call_count": counters.calls,
        "eas/call_answered_count": counters.answered,
        "eas/call_error_count": counters.failed.total(),
        "eas/request_count": counters.attempts.total(),
        "eas/response_count": ok + sum(statuses.values()),
        "eas/retry_count": counters.retries.total(),
        "eas/failover_count": counters.failovers,
        "eas/hedge_count": counters.hedges,
        "eas/stream_count": counters.streams,
        "eas/stream_broken_count": counters.streams_broken.total(),
        "eas/ejection_count": counters.ejections.total(),
        "eas/ejection_overflow_count": counters.ejections_overflow.total(),
        "eas/balancer_fallback_count": counters.balancer_fallbacks,
        "eas/in_flight/max": peak,
        "eas/discovery/instances": len(client.instances),
        "eas/discovery/poll_count": discovery.polls,
    }
    queues = {
        "watch": counters.watches,
        "watch_lost": counters.watches_lost.total(),
        "frame": counters.frames,
        "frame_repeated": counters.frames_repeated,
        "commit": counters.commits,
        "commit_failed": counters.commits_failed,
    }
    # Few crawls use a queue, so these stats are omitted if they are 0.
    stats |= {f"eas/{name}_count": count for name, count in queues.items() if count}
    for error, count in counters.failed.items():
        stats[f"eas/call_error_type_count/{error}"] = count
    for status, count in {"200": ok, **statuses}.items():
        if count:
            stats[f"eas/response_status_count/{status}"] = count
    if exceptions:
        stats["eas/exception_count"] = sum(exceptions.values())
    for reason, count in exceptions.items():
        stats[f"eas/exception_type_count/{reason}"] = count
    for reason, count in discovery.rejections.items():
        stats[f"eas/discovery/rejection_count/{reason}"] = count
    for reason, count in counters.retries.items():
        stats[f"eas/retry/reason_count/{reason}"] = count
    if latency.count:
        stats["eas/latency/mean_seconds"] = latency.total_s / latency.count
        stats["eas/latency/max_seconds"] = latency.max_s
    return stats
