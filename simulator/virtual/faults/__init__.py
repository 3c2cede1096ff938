"""The faults of a run: catalogue, schedule, injector and attribution."""
