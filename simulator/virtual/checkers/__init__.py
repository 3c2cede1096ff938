"""The checkers of the simulation's invariants; each module checks invariants of one topic."""
