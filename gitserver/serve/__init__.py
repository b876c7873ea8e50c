"""The server's processes and how they find each other."""
