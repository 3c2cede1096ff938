"""Errors, responses, requests and settings are pickled to and from the processes of a pool."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

WORK = """
    import eas_tw
    from eas_tw import AttemptResult, AttemptStatus, Instance, Outcome, errors
    from eas_tw.blocking.errors import as_predict_exception

    ATTEMPTS = (AttemptResult(Instance("10.0.0.1", 80), Outcome(AttemptStatus.STATUS, 503), 0.5),)

    def error(name):
        if name == "PredictException":
            return as_predict_exception(error("StatusError"))
        if name == "StatusError":
            return errors.StatusError("said 503", ATTEMPTS, status=503, body=b"busy", headers={"a": "b"})
        return getattr(errors, name)("late", ATTEMPTS)

    PATIENCE_S = 120.0

    def fail(name):
        raise error(name)

    def same(value):
        return value

    def service_of(client):
        return client.service_name
"""
PROGRAM = """
    import multiprocessing, sys
    from concurrent.futures import ProcessPoolExecutor
    import eas_tw
    from work import PATIENCE_S, error, fail, same, service_of

    def main(kind):
        spawn = multiprocessing.get_context("spawn")
        names = ("StatusError", "DeadlineExceeded", "ConnectionFailed", "Overloaded", "PredictException")
        request = eas_tw.TFRequest("s")
        request.add_feed("x", [2], request.DT_FLOAT, memoryview(bytes(8)).cast("f"))
        values = [request, eas_tw.StringResponse(b"[1]"), eas_tw.JsonRequest([1]), eas_tw.ClientConfig(timeout_s=2)]
        client = eas_tw.PredictClient("", "svc", token="s3cr3t", instances=[("10.0.0.1", 80)])
        if kind == "executor":
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                results = [pool.submit(fail, name).exception(PATIENCE_S) for name in names]
                back = list(pool.map(same, values, timeout=PATIENCE_S))
                refused = pool.submit(service_of, client).exception(PATIENCE_S)
        else:
            with spawn.Pool(1) as pool:
                results = []
                for name in names:
                    try:
                        pool.apply_async(fail, (name,)).get(PATIENCE_S)
                    except Exception as raised:
                        results.append(raised)
                back = pool.map_async(same, values).get(PATIENCE_S)
                try:
                    pool.apply_async(service_of, (client,)).get(PATIENCE_S)
                except TypeError as raised:
                    refused = raised
        assert results == [error(name) for name in names], results
        assert [each.attempts for each in results] == [error(name).attempts for name in names]
        assert back == values, back
        print(type(refused).__name__, refused)

    if __name__ == "__main__":
        main(sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["executor", "pool"])
def test_all_values_except_clients_pass_process_pools(tmp_path: Path, kind: str) -> None:
    """In an earlier version, a pickled `StatusError` broke the executor, and `Pool.get` never returned."""
    (tmp_path / "work.py").write_text(textwrap.dedent(WORK))
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, "-W", "error", str(tmp_path / "program.py"), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TypeError PredictClient cannot be pickled or copied")
    assert done.stdout.count("\n") == 1
    assert "s3cr3t" not in done.stdout
