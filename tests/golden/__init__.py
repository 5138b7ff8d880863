"""Tests against golden files: archives of old code stay readable, and the format stays as it is.

- `archives/SCHEMA/NAME.tar.gz`: folders of runs, as the code of some commit left them.
- `expected/`: facts about each of them, and about the output of each command, as JSON.
- `written/`: descriptions of the files that a run writes, without the values that differ from run
  to run.
- `inputs/`: configs and circuit files that the runs read.

`make.py` says how each file was made, and with which commit. Newer code never makes them again: a
test that fails here has found an archive that can no longer be read, or a file that is written in
another form.
"""
