"""One row for each registry type: from the vendor's Secret to credentials, and on to the proxy.

`exchanges` asks the clouds for tokens, and `exchange` runs them; all other modules do no I/O.
"""
