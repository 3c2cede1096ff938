"""`CannotWrite`, in a module without imports, because every command of `eas-tw` imports it."""

from __future__ import annotations


class CannotWrite(OSError):
    """An output file cannot be written to, for example because the disk is full."""
