"""Engines: where the jobs of a batch run."""
