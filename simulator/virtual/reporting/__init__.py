"""What people read of a run: the log of clients, the report, how addresses and lists are formatted."""
