"""The pure core: values, protocols and formulas. No I/O, no service, no Hydra, no HDF5."""
