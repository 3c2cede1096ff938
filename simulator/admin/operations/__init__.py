"""The operations of the admin API, by what they are about; each module gives its rows of the table."""
