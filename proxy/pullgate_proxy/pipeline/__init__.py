"""The way of one pull, a file a step: authenticate, recall, authorize, forward, relay.

A step returns a value or raises a fault of `pullgate.faults`; `refuse` is the one place that turns a fault into an
answer.
"""
