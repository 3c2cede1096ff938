"""Deterministic simulation: real client and real simulator in one process, on virtual time and an in-memory network."""
