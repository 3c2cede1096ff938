"""Virtual time, and an in-memory network under Twisted's own transports."""
