"""License keys, signed license files, usage, and marks of tests. No I/O is done here; randomness is the system's."""
