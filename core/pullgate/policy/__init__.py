"""Who may pull what from where: pure decisions over facts. No I/O of any kind is done here, no clock is read."""
