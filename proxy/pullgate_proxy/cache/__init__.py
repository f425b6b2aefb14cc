"""The caches of upstream content. The License and its entitlement are checked before any cache is asked."""
