# mypy: disable-error-code="import-not-found"
"""What the scheduler's process runs, in TestGen's own Python: ``testgen run-app scheduler``, when it may.

A scheduler that starts cancels every job that is claimed or running, in the belief that nobody else runs any
(5.33.3 to 5.134.0; up to 5.92.2 queued ones, too). This one waits for the lock that dqctl holds while it runs a
job, and lets go of it when the start is over. Another lock makes it the only one of its database, as long as its
connection lives. It claims no job while dqctl keeps the stack still. When the connection breaks, or the
configuration changes, which TestGen reads once, it ends in order; the container's restart policy starts it anew,
and that start settles what the end left.

Jobs are processes of this same program: TestGen starts ``python PROGRAM exec-job ID``.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text
from testgen.__main__ import cli
from testgen.common import models
from testgen.common.models import get_current_session
from testgen.common.models.job_execution import JobExecution
from testgen.scheduler import cli_scheduler

LOG = logging.getLogger("testgen")

# Nothing of dqctl can be imported here: those of dqctl.testgen.exclusive, and of the package beside this file.
LOCKS = {"space": 0x64716374, "job": 2, "scheduler": 3, "claims": 4}
HEARTBEAT = "/tmp/scheduler"  # noqa: S108 - a tmpfs of the container's own
CONFIGURATION = Path(os.environ["TG_TESTGEN_HOME"]) / "config.env"

SECONDS_BETWEEN_LOOKS = 1.0
POLL = 0.2


def main() -> None:
    """Do what the arguments ask of ``testgen``."""
    # The parameters of a failed statement may be secrets; SQLAlchemy would put them into the log.
    models.engine.hide_parameters = True
    if sys.argv[1:] != ["run-app", "scheduler"]:
        sys.exit(cli())
    # The first process of a container has no default for it; TestGen sets its own when the scheduler runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    Guard().stand_before_the_scheduler()
    code: Any = 1
    try:
        cli()
    except SystemExit as end:
        code = end.code
    except Exception:
        LOG.exception("The scheduler ended by an error")
    # At once: TestGen gives up on a job that does not stop (TG_JOB_SHUTDOWN_TIMEOUT), but the thread that waits
    # for the job's process would keep the interpreter until the container is killed (5.134.0).
    logging.shutdown()
    os._exit(code if isinstance(code, int) else 0)


def beat() -> None:
    """Show, for the container's health check, that the database has answered just now."""
    Path(HEARTBEAT).touch()


class Guard:
    """Lets the scheduler begin when nobody runs a job, claim jobs when it may, and end when it has to."""

    def __init__(self) -> None:
        self._configuration = CONFIGURATION.read_bytes()
        self._connection: Any = None

    def stand_before_the_scheduler(self) -> None:
        """Come between ``run_scheduler`` and three things that it calls, the same from 5.33.3 to 5.134.0."""
        is_ready = cli_scheduler.check_db_is_ready
        run = cli_scheduler.CliScheduler.run
        claim = JobExecution.claim_actionable

        def check_db_is_ready() -> bool:
            # At a first install the database is just being made: TestGen would look every 10 s.
            while not is_ready():
                time.sleep(1)
            self._connect()
            self._take("scheduler", "another scheduler works on this database: waiting for its end")
            self._take("job", "dqctl runs a job: waiting for its end")
            return True  # here TestGen settles the jobs that an earlier scheduler left, then makes itself

        def run_beside_dqctl(scheduler: Any) -> None:
            self._connection.execute(text("SELECT pg_advisory_unlock(:space, :job)"), LOCKS)
            threading.Thread(target=self._look_after, args=(scheduler,), name="dqctl", daemon=True).start()
            run(scheduler)

        def claim_actionable(*arguments: Any, **named: Any) -> Any:
            # Shared, and until the claim is committed: who holds it alone knows what is claimed.
            allowed = text("SELECT pg_try_advisory_xact_lock_shared(:space, :claims)")
            claimed = claim(*arguments, **named) if get_current_session().scalar(allowed, LOCKS) else []
            beat()
            return claimed

        cli_scheduler.check_db_is_ready = check_db_is_ready
        cli_scheduler.CliScheduler.run = run_beside_dqctl
        JobExecution.claim_actionable = staticmethod(claim_actionable)

    def _connect(self) -> None:
        self._connection = models.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # What a command is told when it finds one of the locks taken.
        self._connection.execute(text("SELECT set_config('application_name', 'the scheduler', false)"))

    def _take(self, key: str, why_not: str) -> None:
        taken = text(f"SELECT pg_try_advisory_lock(:space, :{key})")
        told = False
        while not self._connection.scalar(taken, LOCKS):
            if not told:
                LOG.info(why_not)
            told = True
            beat()
            time.sleep(POLL)

    def _look_after(self, scheduler: Any) -> None:
        """End the scheduler when it had better begin anew."""
        try:
            while CONFIGURATION.read_bytes() == self._configuration:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                self._connection.execute(text("SELECT 1"))
            LOG.info("The configuration has changed: the scheduler starts anew when its jobs are done")
            scheduler.shutdown()
            while scheduler._running_jobs:
                time.sleep(POLL)
                self._connection.execute(text("SELECT 1"))
                beat()
        except Exception:
            LOG.exception("The scheduler has lost its lock: it starts anew")
        finally:
            with contextlib.suppress(OSError):
                os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
