"""Where clouds give tokens."""
