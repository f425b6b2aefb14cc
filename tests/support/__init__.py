"""The base of the tests: images, upstreams that fail on demand, real clients. Real servers, no patched functions."""
