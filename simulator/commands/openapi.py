"""The `openapi` command: print the admin API's OpenAPI document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(_: argparse.Namespace) -> int:
    """Print the document, without starting a simulator."""
    # Imported here, because no other command needs these modules.
    from twisted.internet.task import Clock  # noqa: PLC0415

    from simulator.simulator import Simulator  # noqa: PLC0415

    print(json.dumps(Simulator(Clock()).admin.describe(), indent=2, ensure_ascii=False))
    return 0
