"""Progress of a run or a sweep, the plan, and a short summary at the end.

Progress goes to stderr: bars on a terminal, else a line a minute. The table and the summary go to
stdout.
"""

from qexp.progress.terminal import Terminal

__all__ = ["Terminal"]
