"""Each module that needs an extra names the extra if its package is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S
from tests.simulator.serving import environment

MODULES = {
    # extra: the module that needs it, and a package of the extra
    "scrapy": ("eas_tw.scrapy", "scrapy"),
    "prometheus": ("eas_tw.telemetry.prometheus", "prometheus_client"),
    "opentelemetry": ("eas_tw.telemetry.opentelemetry", "opentelemetry"),
    "httpx2": ("eas_tw.httpx2", "httpx2"),
    "httpx": ("eas_tw.httpx", "httpx"),
    "dask": ("eas_tw.dask", "dask"),
}


@pytest.mark.parametrize("extra", MODULES)
def test_importing_a_module_without_its_extra_names_the_extra(extra: str) -> None:
    module, package = MODULES[extra]
    code, said = without(package, f"import {module}")
    assert (code, said.endswith(f"pip install 'eas-tw[{extra}]'")) == (1, True)


USES = {
    "numpy": "from eas_tw.body.content import numeric; numeric()",
    "compression": "from eas_tw.body.compression import compress; compress('zstd', b'1')",
    "tls": "from twisted.internet.task import Clock; from eas_tw import PredictClient; failures = []; "
    "PredictClient('https://x', 'echo', reactor=Clock()).init().addErrback(failures.append); "
    "sys.exit(failures[0].getErrorMessage())",
    "cli": "from eas_tw.cli import main; "
    "sys.exit(main(['predict', '--endpoint', 'x', '--service', 'y', '--tensor', 'a=b.npy']))",
    "parquet": "from eas_tw.cli import main; sys.exit(main(['score', 'a.parquet', '--output', 'b.csv', "
    "'--endpoint', 'x', '--service', 'y']))",
    "simulator": "from simulator.cli import main; sys.exit(main(['--processor', 'zstd+echo']))",
}
PACKAGES = {
    "numpy": "numpy",
    "compression": "cramjam",
    "tls": "OpenSSL",
    "cli": "numpy",
    "parquet": "pyarrow",
    "simulator": "cramjam",
}


@pytest.mark.parametrize("extra", USES)
def test_using_a_feature_without_its_extra_names_the_extra(extra: str) -> None:
    code, said = without(PACKAGES[extra], USES[extra])
    assert code == (2 if "main" in USES[extra] else 1)
    assert said.endswith(f"pip install 'eas-tw[{extra}]'")


def test_perf_without_its_extra_names_the_extra() -> None:
    program = "from eas_tw.cli import main; sys.exit(main(['perf', '--endpoint', 'x', '--service', 'y', '[1]']))"
    code, said = without("hdrh", program)
    assert (code, said) == (2, "eas-tw: eas-tw perf needs hdrhistogram: pip install 'eas-tw[cli]'")


def without(package: str, program: str) -> tuple[int, str]:
    """Run a program that cannot import the package. Return the exit code and the last line of standard error."""
    command = [sys.executable, "-c", f"import sys; sys.modules[{package!r}] = None; {program}"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    return ended.returncode, ended.stderr.splitlines()[-1]
