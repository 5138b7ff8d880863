"""Sweeps as one thing: their points, the pairs among them, and one dataset of all results."""
