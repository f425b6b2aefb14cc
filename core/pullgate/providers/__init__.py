"""One row for each registry type: from the vendor's Secret to credentials, and on to the proxy. No I/O."""
