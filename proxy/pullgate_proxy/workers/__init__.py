"""Several processes that serve one port, by SO_REUSEPORT: one watch, one disk, one count of what Licenses use.

The supervisor follows the cluster (or folder), keeps the disk and counts; each worker is a complete proxy that receives
the changes. A worker asks the supervisor only for decisions that affect all workers; it makes all others alone.
"""
