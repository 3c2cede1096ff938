"""The checkers of the simulation's invariants, one module for each."""
