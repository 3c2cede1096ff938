"""The operations of the admin API, by what they are about; each room gives its rows of the table."""
