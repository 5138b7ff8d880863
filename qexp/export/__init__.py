"""Other forms of what an archive holds, each a module that `qexp.export.formats` finds by name."""
