"""Score a table on a Dask cluster.

EAS_TOKEN=… python with_dask.py ENDPOINT SERVICE
"""

import sys

import dask.dataframe
import pandas as pd
from distributed import Client, LocalCluster

import eas_tw.dask
from eas_tw.bulk import Scoring


def decode(row, response):
    return {"id": row["id"], "credit": response.data["money_credit"]}


def main(endpoint, service):
    rows = pd.DataFrame({"id": range(1000), "money_credit": range(0, 10**6, 1000)})
    table = dask.dataframe.from_pandas(rows, npartitions=8)
    scoring = Scoring(
        endpoint, service, decode=decode, in_flight=64, rate_per_s=5000
    )
    meta = {"id": "float64", "credit": "float64", "error": "object"}
    scored = eas_tw.dask.score(table, scoring, meta=meta)
    found = scored.compute()
    failed, total = found["error"].count(), int(found["credit"].sum())
    print(f"{len(found)} rows, {failed} failed, total {total}")


if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        main(*sys.argv[1:])
