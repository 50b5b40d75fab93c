"""Programs of tests in TestGen's own Python, which starts as quickly as it does for dqctl."""

import json

from dqctl.clock import Deadline
from dqctl.runtime import Runtime
from dqctl.testgen import driver

_QUICKLY = f"""\
import types
deferring = types.ModuleType("dqctl_defer")
exec(compile({driver.source("defer")!r}, "<dqctl: defer>", "exec"), deferring.__dict__)
deferring.defer()
"""


def run_in_testgen(runtime: Runtime, program: str, stdin: object = None) -> str:
    """What ``program`` prints; it finds ``stdin`` as JSON."""
    argv = ["-c", _QUICKLY + program]
    done = runtime.run(argv, program="python", stdin=json.dumps(stdin), deadline=Deadline(120))
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()
