"""Plans: pure functions of the present state and the time. No I/O, no clock; random values are arguments."""
