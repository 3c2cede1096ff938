"""Scoring on a local Dask cluster of four worker processes, with a killed worker and a crashed instance."""

from __future__ import annotations

import os
import signal
import time  # noqa: TID251  the rate of a job that runs
from collections.abc import Iterator
from typing import Any

import dask.bag
import dask.dataframe
import distributed
import pandas as pd
import pytest

import eas_tw.dask
from eas_tw import ClientConfig, ConfigError
from eas_tw.bulk import ErrorRow, Scoring
from eas_tw.testing.service import RemoteService
from tests.docs.test_examples import run
from tests.patience import PATIENCE_S, PATIENT, until

WORKERS = 4
META = {"id": "float64", "double": "float64", "error": "object"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.Client]:
    """Start four worker processes. The service of a test starts later, so they read its token from a file."""
    with (
        distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as started,
        distributed.Client(started) as client,
    ):
        client.wait_for_workers(WORKERS, timeout=PATIENCE_S)
        yield client


@pytest.fixture
def scoring(eas_service: RemoteService, tmp_path: Any) -> Scoring:
    (tmp_path / "token").write_text(eas_service.token)
    return Scoring(
        eas_service.endpoint,
        eas_service.name,
        token_source=f"file:{tmp_path / 'token'}",
        config=ClientConfig(**PATIENT),
    )


@pytest.mark.eas_service(processor="echo", instances=3, processing="exponential:0.01")
def test_each_row_is_scored_once_although_a_worker_and_an_instance_crash(
    cluster: distributed.Client, scoring: Scoring, eas_service: RemoteService
) -> None:
    rows = 4000
    frame = pd.DataFrame({"id": range(rows), "x": [number / 2 for number in range(rows)]})
    job = scoring.but(decode="tests.dask.functions:decode", in_flight=16)
    scored = eas_tw.dask.score(dask.dataframe.from_pandas(frame, npartitions=16), job, meta=META)
    running = cluster.compute(scored)
    until(lambda: eas_service.count() > rows // 10)
    pids = cluster.run(os.getpid)
    os.kill(next(iter(pids.values())), signal.SIGKILL)
    eas_service.crash(0)
    found = running.result(timeout=PATIENCE_S)
    assert found["id"].tolist() == list(range(rows))
    assert found["double"].tolist() == frame["x"].mul(2).tolist()
    assert found["error"].isna().all()
    assert found.index.tolist() == frame.index.tolist()
    cluster.wait_for_workers(WORKERS, timeout=PATIENCE_S)
    eas_tw.dask.release(job)


@pytest.mark.eas_service(processor="echo")
def test_the_rate_is_that_of_the_job_and_the_in_flight_limit_too(cluster: distributed.Client, scoring: Scoring) -> None:
    job = scoring.but(decode="tests.dask.functions:of_bag", rate_per_s=200, in_flight=16)
    bag = dask.bag.from_sequence(range(1200), npartitions=8)
    began = time.monotonic()
    outputs = eas_tw.dask.score(bag, job).compute()
    elapsed_s = time.monotonic() - began
    assert outputs == [(number, number) for number in range(1200)]
    # Only the upper bound is checked, because a slow machine may score fewer rows per second.
    assert 1200 / elapsed_s <= 200 * 1.05
    (plugin_name,) = {eas_tw.dask._name_of(job.but(ordered=True))}

    def limits(dask_worker: Any) -> tuple[int, float, int]:
        plugin = dask_worker.plugins[plugin_name]
        return plugin.scoring.in_flight, plugin.scoring.rate_per_s, plugin.client.counters.answered

    found = list(cluster.run(limits).values())
    assert [each[:2] for each in found] == [(2, 50.0)] * WORKERS, "16 requests for 4 workers of 2 threads"
    assert sum(answered for _, _, answered in found) == 1200, "one client in each process"
    eas_tw.dask.release(job)


@pytest.mark.usefixtures("cluster")
@pytest.mark.eas_service(processor="echo")
def test_rows_that_fail_are_errors_in_their_places(scoring: Scoring) -> None:
    job = scoring.but(decode="tests.dask.functions:decode")
    frame = pd.DataFrame({"id": [0, 1], "x": [1.0, float("nan")]})
    found = eas_tw.dask.score(dask.dataframe.from_pandas(frame, npartitions=1), job, meta=META).compute()
    assert found["double"].tolist()[0] == 2.0
    assert pd.isna(found["error"][0])
    assert found["error"][1].startswith("BodyError: a JsonRequest cannot be written")
    outputs = eas_tw.dask.score(dask.bag.from_sequence(["[1]", 1j], npartitions=1), scoring).compute()
    assert outputs[0] == "[1]"
    assert isinstance(outputs[1], ErrorRow)
    assert (outputs[1].position, outputs[1].input) == (1, 1j)


@pytest.mark.usefixtures("cluster")
@pytest.mark.eas_service(processor="echo")
def test_a_missing_setting_is_an_error_before_the_job_runs(scoring: Scoring) -> None:
    frame = dask.dataframe.from_pandas(pd.DataFrame({"id": [0]}), npartitions=1)
    with pytest.raises(ConfigError, match="a data frame needs meta"):
        eas_tw.dask.score(frame, scoring)
    with pytest.raises(ConfigError, match=r"scoring must be a Scoring, got \{'endpoint': 'x'\}"):
        eas_tw.dask.score(frame, {"endpoint": "x"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"collection must be a Dask bag or data frame, got \[1, 2\]"):
        eas_tw.dask.score([1, 2], scoring)
    with pytest.raises(ConfigError, match="meta must have a column 'error' for rows that fail"):
        eas_tw.dask.score(frame, scoring, meta={"id": "int64"})


def test_without_a_cluster_there_is_one_line() -> None:
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    program = (
        "import dask.bag, eas_tw.dask\nfrom eas_tw.bulk import Scoring\n"
        "eas_tw.dask.score(dask.bag.from_sequence([1]), Scoring('x', 'y'))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.stderr.splitlines()[-1].endswith("eas_tw.dask needs a distributed.Client: make one, or pass client=")


@pytest.mark.eas_service(processor="echo")
def test_the_program_of_the_documentation_scores_each_row(eas_service: RemoteService) -> None:
    ended = run(
        "score/with_dask.py", eas_service.endpoint, eas_service.name, token=eas_service.token, warnings="ignore"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "1000 rows, 0 failed, total 499500000"
