"""Pure decisions over facts: may a client pull this from there? They do no I/O and read no clock."""
