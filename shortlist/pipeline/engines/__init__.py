"""Engines: other ways to find candidates than the exact search, one library a file."""
