"""A process that waits for the end of ``ci run`` and takes its stack down, whatever ended it.

It learns of that end by a pipe, which the kernel closes. Imports nothing of weight until then.
"""

import os
import sys

DONE = b"."  # all is down already


def watch(home: str, name: str) -> None:
    """Wait until stdin ends; unless it was said that all is done, take the stack down that nobody needs now."""
    if os.read(0, 1) == DONE:
        return
    from pathlib import Path

    from dqctl.clock import SYSTEM_CLOCK, Deadline
    from dqctl.services.ci.down import take_down
    from dqctl.services.ci.record import CiPaths, read
    from dqctl.services.ci.sweep import is_over
    from dqctl.settings import load

    settings = load({"home": Path(home)})
    paths = CiPaths(settings.home, name)
    deadline = Deadline(60.0)  # for a process that is ending: its files are closed first
    while (found := read(paths)) and not is_over(found, SYSTEM_CLOCK) and not deadline.passed:
        SYSTEM_CLOCK.sleep(0.02)
    take_down(paths, settings, wanted=lambda record: is_over(record, SYSTEM_CLOCK), settle=True)


if __name__ == "__main__":
    watch(*sys.argv[1:])
