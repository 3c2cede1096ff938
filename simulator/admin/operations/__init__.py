"""The operations of the admin API by subject; each module returns its rows of the table."""
