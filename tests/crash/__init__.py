"""Kills the real command line at every step that matters, resumes it, and counts what was lost.

`python -m tests.crash --help` is the long form; `test_crash.py` the short one.
"""
