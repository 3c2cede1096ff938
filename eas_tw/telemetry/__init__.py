"""Counters and events of a client, and the adapters for Prometheus, OpenTelemetry and `logging`."""
