"""Comparison of two runs: what differs between them, and whether their data do."""
