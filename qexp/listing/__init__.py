"""The runs below a folder: found, read, summarised, indexed, filtered and sorted."""
