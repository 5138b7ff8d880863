"""Analyses of a run's data, made once they are sealed: one analysis per module.

An analysis is a function of an open archive that returns an `xarray.Dataset`. The config names it
by `_target_`, and its annotated signature is the schema of its settings. See `docs/analyses.md`.
"""
