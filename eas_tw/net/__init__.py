"""The client's sockets, timers and Deferreds; the package carries out the decisions of `policy`."""
