"""The Twisted shell: sockets, timers and Deferreds; it asks policy, acts, and reports the outcome back."""
