"""Sockets, timers and Deferreds of the client; the package does what policy decides, and reports the outcome."""
