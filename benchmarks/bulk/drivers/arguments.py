"""Parse the command line of the drivers."""

from __future__ import annotations

import argparse
import os


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--output")
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--ports", help="the instances' ports, separated by commas")
    given = parser.parse_args()
    given.endpoint, given.service, given.token = (
        os.environ[f"EAS_{name}"] for name in ("ENDPOINT", "SERVICE", "TOKEN")
    )
    return given
