"""The client's decisions as pure functions and small values, without Twisted, sockets, clocks or logs."""
