"""Bounds in time: the limits of a License, its usage, rates of requests, wrong keys by address."""
