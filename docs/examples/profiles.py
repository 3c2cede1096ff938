"""Settings for three kinds of services, as starting points."""

import sys

from eas_tw import ClientConfig

# Responses within a few milliseconds, thousands of calls a second.
SMALL_AND_FAST = ClientConfig(
    timeout_s=0.5,  # the caller falls back to a default after half a second
    connect_timeout_s=0.2,
    hedge_after_s="p95",  # 5 % more load for a shorter tail
    max_connections_per_instance=32,
    drain_timeout_s=1.0,
)

# Responses within about 200 ms, such as images and rankings.
AROUND_200_MS = ClientConfig(
    timeout_s=2.0,  # ten times the usual latency
    balancer="p2c",  # sends fewer calls to slow instances
    max_in_flight_per_instance=5,  # the workers of an instance, see below
    outlier_latency_ratio=3.0,
)

# Answers that take many seconds and arrive in pieces.
LANGUAGE_MODEL = ClientConfig(
    auth="bearer",
    timeout_s=60.0,  # until the first token, over all attempts
    stream_idle_timeout_s=20.0,  # the longest pause between two tokens
    balancer="p2c",  # by calls in flight: answers differ in length
    attempts=2,  # a second answer costs as much as the first
    slow_start_s=30.0,  # a new instance has an empty cache
    drain_timeout_s=30.0,
)


def for_fleet(config, instances, processes):
    """Return the settings of one of many processes for a fleet of that size."""
    if instances >= 100 and processes >= 10:
        return config.but(subset_size=20)
    return config


if __name__ == "__main__":
    for name in ("SMALL_AND_FAST", "AROUND_200_MS", "LANGUAGE_MODEL"):
        config = for_fleet(globals()[name], *map(int, sys.argv[1:]))
        print(name, config.timeout_s, config.subset_size)
