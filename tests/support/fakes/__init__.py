"""Fakes of providers, which tests cannot reach, by their wire protocol."""
