"""Circuit generators: plain functions that a config names by `_target_` and that yield PUBs lazily.

A generator's annotated signature is its schema. It takes the `numpy.random.SeedSequence` that
qexp supplies, and its k-th PUB depends on that and on k only, so that a longer run begins with the
circuits of a shorter one. Sampler circuits are measured into the register `meas`; every circuit
has a `name` of its own, and `metadata` that says what it is.
"""
