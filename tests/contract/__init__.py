"""One suite for every engine: the behaviour that the rest of qexp relies on."""
