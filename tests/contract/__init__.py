"""One suite for every engine: what the rest of qexp relies on."""
