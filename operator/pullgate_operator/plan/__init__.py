"""What is to be done, as functions of what is and of the time. No I/O, no clock; chance comes in as an argument."""
