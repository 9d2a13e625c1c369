"""A child process ends with its parent: asked of the kernel, since a parent killed by -9 cannot ask for anything."""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent_pid: int, sent: signal.Signals = signal.SIGTERM) -> None:
    """Have `sent` delivered to this process when its parent ends; exits at once if it has ended already. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, sent, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit(f"the parent process {parent_pid} is gone")
