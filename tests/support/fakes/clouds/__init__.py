"""Fakes of the clouds' token services."""
