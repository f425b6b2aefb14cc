"""What tests stand on: images, upstreams that can be made to fail, real clients. Real servers, no patched functions."""
