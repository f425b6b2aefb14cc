"""Two hostile apps beside a good one on a cluster: what they write, serve and ask, and what the good app's client sees.

tests/cluster/test_hostile_apps.py shows that they reach nothing, benchmarks/hostile.py what they cost.
"""
