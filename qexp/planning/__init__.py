"""Generate, transpile, check and partition: everything before the batch opens."""
