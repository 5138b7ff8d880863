"""The pictures of a report, each a function from values to a `Drawing`."""
