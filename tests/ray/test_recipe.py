"""The program for Ray Data of docs/howto/score.md."""

from __future__ import annotations

import pytest

from eas_tw.testing.service import RemoteService
from tests.docs.test_examples import run


@pytest.mark.eas_service(processor="echo")
def test_the_ray_program_scores_each_row(eas_service: RemoteService) -> None:
    ended = run("score/with_ray.py", eas_service.endpoint, eas_service.name, token=eas_service.token, warnings="ignore")
    assert ended.returncode == 0, ended.stderr
    assert "1000 rows, total 499500000" in ended.stdout
