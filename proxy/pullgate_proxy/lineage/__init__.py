"""The digests that a tag rule covers: `grants` remembers what was proven, `proof` proves it anew from the upstream.

The page docs/entitlement.md says why this is O(1), bounded, and right after a restart and on every replica.
"""
