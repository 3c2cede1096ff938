"""Score partitions in a pool of processes, like an engine with a map function.

EAS_TOKEN=… python with_processes.py ENDPOINT SERVICE
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from eas_tw.bulk import Scoring, score_partition

PROCESSES = 2


def credit(_, response):
    return response.data["money_credit"]


def total(rows, scoring):
    return sum(score_partition(rows, scoring))


if __name__ == "__main__":
    scoring = Scoring(
        *sys.argv[1:], decode=credit, rate_per_s=5000, on_error="raise"
    )
    rows = [{"id": number, "money_credit": 1000 * number} for number in range(1000)]
    partitions = [rows[start : start + 250] for start in range(0, 1000, 250)]
    with ProcessPoolExecutor(PROCESSES) as pool:
        share = scoring.shared_by(PROCESSES)
        print(sum(pool.map(partial(total, scoring=share), partitions)))
