"""Scoring of many rows: a lazy pipeline with bounded memory. A row that fails becomes an `ErrorRow` in the output.

report = await score(rows, sink, client=client, in_flight=64)       # a client of Twisted or asyncio, or a blocking one
for output in score_partition(rows, scoring): ...                   # the map function of a distributed engine
"""

from typing import TYPE_CHECKING

from eas_tw.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from eas_tw.bulk.dispatch import score
    from eas_tw.bulk.options import JobOptions
    from eas_tw.bulk.report import ScoringReport, TooManyErrors
    from eas_tw.bulk.rows import ErrorRow
    from eas_tw.bulk.scoring import Scoring
    from eas_tw.bulk.threads import score_partition
    from eas_tw.bulk.token_bucket import TokenBucket

__all__ = [
    "ErrorRow",
    "JobOptions",
    "Scoring",
    "ScoringReport",
    "TokenBucket",
    "TooManyErrors",
    "score",
    "score_partition",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ErrorRow": "eas_tw.bulk.rows",
            "JobOptions": "eas_tw.bulk.options",
            "Scoring": "eas_tw.bulk.scoring",
            "ScoringReport": "eas_tw.bulk.report",
            "TokenBucket": "eas_tw.bulk.token_bucket",
            "TooManyErrors": "eas_tw.bulk.report",
            "score": "eas_tw.bulk.dispatch",
            "score_partition": "eas_tw.bulk.threads",
        },
    )
