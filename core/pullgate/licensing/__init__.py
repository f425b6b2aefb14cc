"""License keys, and signed license files. No I/O of any kind is done here; randomness comes from the system."""
