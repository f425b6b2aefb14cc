"""What the proxy keeps of its upstreams. Nothing here is asked before the License and its entitlement were."""
