"""Find, read, summarise, index, filter and sort the runs below a folder."""
