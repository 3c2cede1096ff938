"""The operations of the admin API: a module, with its rows of the table, for each kind of resource."""
