"""Bounds by who asks: the limits of a License and its usage, rates of requests, wrong keys by address."""
