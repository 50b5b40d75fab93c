"""How TestGen's command and TestGen's Python are started, wherever they are."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dqctl.testgen import driver, scheduler, sessions

Program = Literal["testgen", "python"]

# Every start of TestGen asks for its newest version over HTTPS and waits up to 3 s on a dead network; there is no
# switch (5.33.3 to 5.134.0). The one address is refused here, before the network.
_NOT_ASKED = """\
import sys, requests
get = requests.get
def refuse(url, *args, **kwargs):
    if "testgen-latest-versions" in str(url):
        raise requests.ConnectionError("not asked: dqctl decides about versions")
    return get(url, *args, **kwargs)
requests.get = refuse
"""
_DEFERRED = f"""\
import types
deferring = types.ModuleType("dqctl_defer")
exec(compile({driver.source("defer")!r}, "<dqctl: defer>", "exec"), deferring.__dict__)
deferring.defer()
"""
_LAUNCHER = f"""\
{_NOT_ASKED}
{_DEFERRED}
import gc
gc.disable()  # see dqctl.testgen.driver.main
sys.argv[0] = "testgen"
from testgen.__main__ import cli
gc.freeze()
gc.enable()
sys.exit(cli())
"""

# In every call's environment. The installation is shared, or read-only, and compiled.
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def scheduler_program(profile_ansi: sessions.ProfileAnsi = "off") -> str:
    """The source of the scheduler's process, which is also that of the jobs that it starts."""
    return _NOT_ASKED + _DEFERRED + sessions.job_program(profile_ansi) + scheduler.program()


def digest(programs: str, configuration: Path) -> str:
    """What tells processes of TestGen apart that were started with other programs, or another configuration."""
    try:
        content = configuration.read_bytes()
    except OSError:
        content = b""
    return hashlib.sha256(f"{programs} {configuration} ".encode() + content).hexdigest()


def command(python: str, program: Program, argv: Sequence[str]) -> list[str]:
    """The arguments that start ``testgen ARGV`` or ``python ARGV`` with TestGen's interpreter ``python``."""
    return [python, *(["-P", "-c", _LAUNCHER] if program == "testgen" else []), *argv]
