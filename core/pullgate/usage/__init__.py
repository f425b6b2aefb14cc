"""Polls the proxies' usage counts over HTTP."""
