"""Several processes that serve one port, by SO_REUSEPORT: one watch, one disk, one count of what Licenses use.

The supervisor follows the cluster (or folder), keeps the disk and counts; each worker is a whole proxy that is told of
changes, and asks the supervisor where a decision is one for all. What it may decide alone it decides alone.
"""
