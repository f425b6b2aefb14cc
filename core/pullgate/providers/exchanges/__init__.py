"""How a cloud gives a token: one file a family. Each does I/O in `issue` alone; the clouds' libraries are extras."""
