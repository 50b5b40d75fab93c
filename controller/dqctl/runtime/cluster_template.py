"""A whole database cluster, as the first throw-away stack of its kind had it when it was new.

Copying it takes a third of what making one takes (initdb, TestGen's metadata). No secret is in it: the password of
its role was that of a stack that is gone, as was that of TestGen's first user. A copy's role gets the password of
its stack before the server listens; nobody signs in to the web application of a throw-away stack, so TestGen's
first user keeps one that nobody knows.
"""

import contextlib
import hashlib
import logging
import os
import pwd
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_DIR
from dqctl.runtime import accounts, metadata_template
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.postgres import Postgres
from dqctl.testgen.capabilities import capabilities

_log = logging.getLogger(__name__)

_FORMAT = 2
_TIMEOUT = 120.0  # seconds for a copy: 0.1 on an idle machine
_KEPT = 2  # of one version of TestGen
_STALE = 3600.0  # seconds after which nobody makes, or removes, one any more
_ENDING = ".cluster"


@dataclass(frozen=True)
class ClusterTemplate:
    """What is kept for stacks like that of ``runtime``, which is a throw-away one."""

    runtime: LocalRuntime

    @property
    def path(self) -> Path:
        """Where it is, or would be; whoever makes a stack of it owns his copy."""
        made_from = (
            f"format {_FORMAT}",
            self.runtime.environment.fingerprint,
            f"PostgreSQL {self.runtime.record.postgres_version}",
        )
        name = hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:32]
        return metadata_template.directory(self.runtime.paths, self.runtime.version) / f"{name}{_ENDING}"

    def take(self) -> bool:
        """Make the stack's cluster of what is kept; False when nothing is kept that can be taken."""
        server = self.runtime.postgres
        if not os.access(self.path / "PG_VERSION", os.R_OK):  # none, or another user's
            return False
        making = server.data.with_name(f"{server.data.name}.making")
        is_copied = False
        try:
            shutil.rmtree(making, ignore_errors=True)
            _copy(self.path, making)
            _own(making, server.account)
            is_copied = True
            server.adopt(making)
        except (EnvironmentFault, OSError) as error:
            _log.warning("the cluster %s is not taken: %s", self.path, error)
            # What cannot be copied tells of this stack, which somebody may be taking down, not of what is kept.
            if is_copied and making.exists():
                _discard(self.path)
            shutil.rmtree(making, ignore_errors=True)
            return False
        return True

    def keep(self) -> None:
        """Keep the stack's cluster, as its set-up has just left it: the server is stopped for it, and started.

        Where that cannot be done, the log says so: this stack needs nothing of it.
        """
        server: Postgres = self.runtime.postgres
        if self._is_there or not capabilities(self.runtime.version).known:
            return
        making = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            _discard(self.path)  # what a removal that was killed has left of one
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.runtime.down()
            _copy(server.data, making)
            for log in (making / "log").iterdir():
                log.unlink()
            making.rename(self.path)
            self._remove_oldest()
        except (EnvironmentFault, OSError) as error:  # one of them: another stack was quicker
            _log.warning("no cluster is kept: %s", error)
        finally:
            shutil.rmtree(making, ignore_errors=True)
            self.runtime.up()

    @property
    def _is_there(self) -> bool:
        """Whether one is kept: what a removal that was killed has left of one is none."""
        try:
            return (self.path / "PG_VERSION").exists()
        except PermissionError:  # another user's
            return True

    def _remove_oldest(self) -> None:
        kept = sorted(self.path.parent.glob(f"*{_ENDING}"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_KEPT]:
            _discard(path)
        for path in self.path.parent.glob(f".*{_ENDING}.*"):
            with contextlib.suppress(OSError):  # whoever makes it is quicker
                if time.time() - path.stat().st_mtime > _STALE:
                    shutil.rmtree(path)


def _discard(path: Path) -> None:
    """Remove a cluster at once: what is there under its name is whole."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    done = processes.run(
        ["cp", "-a", "--reflink=auto", str(source), str(target)],
        deadline=Deadline(_TIMEOUT),
        environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    if done.exit_code:
        raise EnvironmentFault(f"cp failed: {done.stderr.strip()[-300:]}", "free space, or see who owns it")


def _own(copy: Path, account: str | None) -> None:
    """As PostgreSQL wants to have it: its account's, and nobody else's to look into (what is kept may be)."""
    if account and pwd.getpwnam(account).pw_uid != copy.stat().st_uid:
        for path in (copy, *copy.rglob("*")):
            accounts.give(path, account)
    copy.chmod(PRIVATE_DIR)
