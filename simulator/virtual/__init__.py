"""Deterministic simulation: real clients and the real simulator in one process, on a virtual clock and network."""
