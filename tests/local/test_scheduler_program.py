"""The scheduler's program in the Python of every known TestGen: what it comes between is there."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dqctl.runtime import environments, launch
from dqctl.testgen.capabilities import KNOWN

pytestmark = pytest.mark.local

_PROBE = """
import sys
sys.argv = ["scheduler.py"]
names = {"__name__": "probe"}
exec(compile(sys.stdin.read(), "scheduler.py", "exec"), names)
scheduler = names["cli_scheduler"]
assert {"check_db_is_ready", "CliScheduler"} <= set(scheduler.run_scheduler.__code__.co_names)
assert "claim_actionable" in scheduler.CliScheduler._poll_loop.__code__.co_names
order = [*scheduler.run_scheduler.__code__.co_names]
assert order.index("check_db_is_ready") < order.index("CliScheduler") < order.index("run")
made = scheduler.CliScheduler()
assert made._running_jobs == {}
before = scheduler.check_db_is_ready, scheduler.CliScheduler.run, names["JobExecution"].claim_actionable
names["Guard"]().stand_before_the_scheduler()
after = scheduler.check_db_is_ready, scheduler.CliScheduler.run, names["JobExecution"].claim_actionable
assert not set(before) & set(after)
made.shutdown()
print("all is there")
"""


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", [each.version for each in KNOWN])
def test_what_it_comes_between_is_there(
    install_version: Callable[[str], Path], tmp_path: Path, version: str
) -> None:
    python = environments.environment(install_version(version), version).python
    (tmp_path / "config.env").write_text(
        "TG_STANDALONE_MODE=no\nTG_METADATA_DB_HOST=127.0.0.1\nTG_METADATA_DB_PORT=1\nTG_METADATA_DB_USER=u\n"
        "TG_METADATA_DB_PASSWORD=p\nTESTGEN_USERNAME=a\nTESTGEN_PASSWORD=b\nTG_DECRYPT_SALT=c\n"
        "TG_DECRYPT_PASSWORD=d\nTG_ANALYTICS=no\nTESTGEN_LOG_TO_FILE=no\n"
    )
    done = subprocess.run(
        [python, "-P", "-c", _PROBE],
        input=launch.scheduler_program(),
        capture_output=True,
        text=True,
        timeout=120,
        env={"TG_TESTGEN_HOME": str(tmp_path), "HOME": str(tmp_path), **launch.ENVIRONMENT},
    )
    assert done.stdout.strip().endswith("all is there"), done.stdout + done.stderr
