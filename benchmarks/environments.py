"""The interpreters of the benchmarked clients, and a description of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import venv
from pathlib import Path


def python_of(environments: Path, name: str, needs: list[str] | None) -> str:
    """Return the interpreter of a client's environment; create the environment on first use.

    Args:
        environments: Folder of the environments.
        name: Name of the client.
        needs: Packages to install, as pip takes them; `None` to use the environment that runs this program. This
            package must be installed with `-e`, because environments are reused: a copy would become out of date.
    """
    if needs is None:
        return sys.executable
    folder = environments / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"preparing the environment of {name} …", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needs], check=True)
        (folder / "ready").touch()
    return str(python)


def machine() -> str:
    import twisted  # noqa: PLC0415

    versions = f"Python {platform.python_version()}, Twisted {twisted.__version__}"
    return f"{versions}, {os.cpu_count()} cores, {platform.machine()}"
