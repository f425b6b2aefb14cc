"""Fakes of what cannot be had: providers, by their wire protocol."""
