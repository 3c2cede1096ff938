"""The decisions: pure functions and small values; no Twisted, no socket, no clock, no log."""
