"""Run a command on a core, and kill it when its parent dies: python launch.py CORE COMMAND… (CORE may be "any")."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the command."""
    core, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGINT)
    if core != "any":
        os.sched_setaffinity(0, {int(core)})
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
