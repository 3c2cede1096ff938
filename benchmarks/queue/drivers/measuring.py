"""Shared parts of the drivers: the options, and the CPU time of the client's process."""

import argparse
import json
import os
import time


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--module", default="eas_prediction")
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--body-bytes", type=int, required=True)
    given = parser.parse_args()
    given.token = os.environ["EAS_TOKEN"]
    return given


class Account:
    """CPU time since its creation."""

    def __init__(self) -> None:
        self._began = time.process_time()

    def per_cpu_s(self, count: int) -> float:
        return count / (time.process_time() - self._began)

    def report(self, puts: float, frames: float) -> None:
        print(json.dumps({"puts_per_cpu_s": puts, "frames_per_cpu_s": frames}))
