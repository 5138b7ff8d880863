"""One HDF5 file per run: written part by part, sealed, read back."""
