"""The faults of a run: the catalogue, the schedule, the injector, and which failures a fault explains."""
