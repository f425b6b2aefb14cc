"""What proxies counted, asked for over HTTP."""
