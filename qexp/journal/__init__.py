"""The journal of an experiment: its file, the state that follows from it, and its lock."""
