"""Exact search: a cheap first pass with a proven bound, then float64 for the few rows left."""
