"""Ctrl-C before there is a command."""

import subprocess
import sys

# What a person's Ctrl-C does when it comes while the modules are loaded.
_INTERRUPTED = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "dqctl.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from dqctl.__main__ import main
main()
"""


def test_ctrl_c_while_dqctl_is_loaded_ends_it_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
