"""IBM's service: backend selection, the engine and its batch."""
