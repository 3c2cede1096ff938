"""The PySpark program of docs/howto/score.md."""

from __future__ import annotations

import pytest

from eas_tw.testing.service import RemoteService
from tests.docs.test_examples import run
from tests.patience import PATIENCE_S


@pytest.mark.eas_service(processor="echo")
def test_the_spark_program_scores_each_row(eas_service: RemoteService) -> None:
    where, token = (eas_service.endpoint, eas_service.name), eas_service.token
    # Starting a Spark cluster takes long, and causes warnings.
    ended = run("score/with_spark.py", *where, token=token, warnings="ignore", within_s=5 * PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    assert "1000 rows, 0 failed, total 499500000" in ended.stdout
