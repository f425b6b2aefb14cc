"""The image as it is built, and what it does on a node."""
