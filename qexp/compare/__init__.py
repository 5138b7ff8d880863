"""Comparison of two runs: their differences, and a statistical test of their data."""
