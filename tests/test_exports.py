"""Names that packages export lazily."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from eas_tw.lazy_exports import lazy_exports

PACKAGES = ["eas_tw", "eas_tw.testing", "simulator", "eas_tw.bulk", "eas_tw.aio", "eas_tw.blocking"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists_and_none_is_forgotten(package: str) -> None:
    module = import_module(package)
    assert {name for name in module.__all__ if getattr(module, name, None) is None} == set()
    star: dict[str, object] = {}
    exec(f"from {package} import *", star)  # noqa: S102
    assert set(module.__all__) <= set(star)
    assert set(module.__all__) <= set(dir(module))


def test_a_misspelt_name_is_an_attribute_error() -> None:
    load, _ = lazy_exports("eas_tw", {})
    with pytest.raises(AttributeError, match="module 'eas_tw' has no attribute 'Predict'"):
        load("Predict")


def test_importing_the_package_imports_no_framework() -> None:
    """Where eas_tw is installed, each run of pytest imports this package, because of the pytest plug-in."""
    program = "import eas_tw, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    names = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert not {"twisted", "google", "httptools", "numpy", "attrs", "simulator"} & set(names.stdout.split())


def test_a_submodule_is_an_attribute() -> None:
    program = "import eas_tw; print(eas_tw.errors.StatusError.__name__)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout == "StatusError\n"


def test_importing_the_asyncio_client_imports_what_its_first_init_would_import() -> None:
    """The import takes tens of milliseconds, in which `init` would block the loop."""
    program = "import eas_tw.aio.client, sys; print(*sorted(sys.modules))"
    names = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert "twisted.internet.endpoints" in names.stdout.split()
    assert "treq" not in names.stdout.split()
