"""The output of a run for people: the clients' log, the report, and the formatting of addresses and lists."""
