"""Deprecated name of `eas_tw.testing.remote`."""

from eas_tw.testing.remote import DEFAULT_URL, TIMEOUT_S, EventStream, Remote, RemoteError, Unreachable

__all__ = ["DEFAULT_URL", "TIMEOUT_S", "EventStream", "Remote", "RemoteError", "Unreachable"]
