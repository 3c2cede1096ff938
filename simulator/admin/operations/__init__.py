"""The operations of the admin API: one module for each kind of resource, with its rows of the operation table."""
