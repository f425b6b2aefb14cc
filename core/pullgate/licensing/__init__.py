"""License keys, signed license files, usage, and marks of tests. No I/O of any kind is done here; randomness comes from the system."""
