"""Score a data set with Ray Data.

EAS_TOKEN=… python with_ray.py ENDPOINT SERVICE
"""

import os
import sys

import ray

from eas_tw.bulk import Scoring, score_partition

ACTORS = 2


def decode(row, response):
    return {"id": row["id"], "credit": response.data["money_credit"]}


class Scorer:
    """An actor with one client for all its batches."""

    def __init__(self, scoring):
        self.scoring = scoring
        self.client = scoring.make_client()

    def __call__(self, batch):
        columns = {name: values.tolist() for name, values in batch.items()}
        rows = [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
        outputs = list(score_partition(rows, self.scoring, client=self.client))
        return {
            name: [output[name] for output in outputs] for name in ("id", "credit")
        }


if __name__ == "__main__":
    # The token is read by the actors.
    environment = {"EAS_TOKEN": os.environ.get("EAS_TOKEN", "")}
    ray.init(include_dashboard=False, runtime_env={"env_vars": environment})
    scoring = Scoring(
        *sys.argv[1:], decode=decode, rate_per_s=5000, on_error="raise"
    )
    rows = [{"id": number, "money_credit": 1000 * number} for number in range(1000)]
    scored = ray.data.from_items(rows).map_batches(
        Scorer,
        fn_constructor_args=[scoring.shared_by(ACTORS)],
        batch_size=250,
        compute=ray.data.ActorPoolStrategy(size=ACTORS),
    )
    print(f"{scored.count()} rows, total {scored.sum('credit')}")
