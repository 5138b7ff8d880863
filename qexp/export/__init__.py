"""Exports of an archive to other formats; `qexp.export.formats` lists them."""
