"""I/O with the API server that only the operator has."""
