"""`openapi`: print the admin API's document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes: nothing."""


def run(_: argparse.Namespace) -> int:
    """Print it; nothing is started for it."""
    # Imported here: the other commands need none of it.
    from twisted.internet.task import Clock  # noqa: PLC0415

    from simulator.simulator import Simulator  # noqa: PLC0415

    print(json.dumps(Simulator(Clock()).admin.describe(), indent=2, ensure_ascii=False))
    return 0
