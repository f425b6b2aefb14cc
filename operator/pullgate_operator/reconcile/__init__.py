"""Gather -> decide -> apply -> record, a file a resource, on whatever `Store` there is."""
