"""The runs below a folder: found, read, indexed, filtered, sorted."""
