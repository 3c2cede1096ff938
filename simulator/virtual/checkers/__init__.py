"""The checkers of the simulation's invariants, by what they look at."""
