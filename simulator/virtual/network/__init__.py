"""Virtual time, and a network in memory with Twisted's own transports on it."""
