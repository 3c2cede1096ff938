"""Decisions of the client as pure functions and small values; no Twisted, no socket, no clock, no log."""
