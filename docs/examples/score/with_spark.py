"""Score a table with PySpark.

EAS_TOKEN=… python with_spark.py ENDPOINT SERVICE
"""

import os
import sys

import pandas as pd
from pyspark.sql import SparkSession

from eas_tw.bulk import Scoring, score_partition

TASKS = 2
COLUMNS = ["id", "credit", "error"]


def decode(row, response):
    return {"id": row["id"], "credit": response.data["money_credit"], "error": None}


def error_row(output):
    return (
        output
        if isinstance(output, dict)
        else {"id": output.input["id"], "error": output.message}
    )


def scorer(scoring):
    def score(frames):
        # A task has one client for all the frames of its partition.
        with scoring.make_client() as client:
            for frame in frames:
                rows = frame.to_dict("records")
                outputs = score_partition(rows, scoring, client=client)
                yield pd.DataFrame(map(error_row, outputs), columns=COLUMNS)

    return score


if __name__ == "__main__":
    spark = (
        SparkSession.builder.master(f"local[{TASKS}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.executorEnv.EAS_TOKEN", os.environ.get("EAS_TOKEN", ""))
        .getOrCreate()
    )
    scoring = Scoring(*sys.argv[1:], decode=decode, rate_per_s=5000)
    rows = [(number, 1000 * number) for number in range(1000)]
    table = spark.createDataFrame(rows, "id long, money_credit long").repartition(4)
    scored = table.mapInPandas(
        scorer(scoring.shared_by(TASKS)), "id long, credit long, error string"
    )
    found = scored.toPandas()
    failed, total = found["error"].count(), int(found["credit"].sum())
    print(f"{len(found)} rows, {failed} failed, total {total}")
    spark.stop()
