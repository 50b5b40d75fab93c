"""One project's PostgreSQL: made, started when somebody comes, stopped when it is suspended.

It listens on a socket file only, in a directory of its own: whoever wants in goes through the front, which speaks
TLS (the wheel's PostgreSQL 16.14 is built without) and has a look at passwords.
"""

import contextlib
import logging
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    # Imported where it is used: a twentieth of a workspace's start, and most have no project of Lakebase.
    import psycopg

logger = logging.getLogger(__name__)

ADMIN = "cloud_admin"  # the only superuser; nobody is let in as
DATABASE = "databricks_postgres"  # the only database of a new project
SUPERUSER = "databricks_superuser"  # what an owner is a member of, and no superuser at all

_PORT = 5432  # of the socket file's name
_SOCKETS = "dqctl-pg-"  # directories of socket files: their path is limited to 107 bytes
_SECONDS = 60.0
_SET_UP: tuple[LiteralString, ...] = (
    f"CREATE ROLE {SUPERUSER} NOLOGIN CREATEDB CREATEROLE",
    f"GRANT pg_read_all_data, pg_write_all_data, pg_monitor TO {SUPERUSER}",
    f"CREATE DATABASE {DATABASE}",
    "DROP DATABASE postgres",
)


class ClusterError(Exception):
    """PostgreSQL cannot be made, started or stopped; the text says why."""


@dataclass(frozen=True)
class Programs:
    """Where PostgreSQL's programs are (the directory that has ``bin``), and who runs them (None: oneself)."""

    directory: Path
    account: str | None

    def run(self, name: str, *arguments: str, cwd: Path) -> None:
        """Run one of them to its end."""
        done = subprocess.run(
            [str(self.directory / "bin" / name), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS + 30,
            cwd=cwd,
            env=_ENVIRONMENT,
            **self._as_account(),
        )
        if done.returncode:
            raise ClusterError(f"{name} failed: {(done.stderr or done.stdout).strip()[-500:]}")

    def start(self, name: str, *arguments: str, cwd: Path, log: Path) -> "subprocess.Popen[bytes]":
        """Start one of them and let it run."""
        with log.open("ab") as said:
            return subprocess.Popen(
                [str(self.directory / "bin" / name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=cwd,
                env=_ENVIRONMENT,
                # A Ctrl-C is for the workspace, which stops its servers itself.
                start_new_session=True,
                **self._as_account(),
            )

    def give(self, path: Path) -> None:
        """Let the account own ``path``."""
        if self.account:
            entry = pwd.getpwnam(self.account)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def _as_account(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        entry = pwd.getpwnam(self.account)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def find_account() -> str | None:
    """Who runs PostgreSQL, which refuses to run as root; None: oneself."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ClusterError("PostgreSQL refuses to run as root, and neither postgres nor nobody is an account here")


_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class Cluster:
    """The cluster in ``directory``. May be used by several threads."""

    def __init__(self, programs: Programs, directory: Path, password: str) -> None:
        self._programs = programs
        self._directory = directory
        self._password = password
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    @property
    def socket(self) -> Path:
        """The socket file that the server listens on while it runs."""
        if self._sockets is None:
            raise ClusterError("PostgreSQL does not run")
        return self._sockets / f".s.PGSQL.{_PORT}"

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def create(self) -> None:
        """Make the cluster, with what a new project of Lakebase has."""
        self._directory.mkdir(parents=True)
        self._programs.give(self._directory)
        password_file = self._directory / "password"
        try:
            password_file.touch(mode=0o600)
            password_file.write_text(self._password, encoding="ascii")
            self._programs.give(password_file)
            self._programs.run(
                "initdb",
                f"--pgdata={self._data}",
                f"--username={ADMIN}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-instructions",
                "--no-sync",
                cwd=self._directory,
            )
        finally:
            password_file.unlink(missing_ok=True)
        self.ensure_running()
        with self._connect("template1") as connection:
            for statement in _SET_UP:
                connection.execute(statement)

    def ensure_running(self) -> None:
        """Start it unless it runs; returns when it lets people in."""
        with self._lock:
            if self.is_running:
                return
            self._end_orphan()
            self._sockets = Path(tempfile.mkdtemp(prefix=_SOCKETS))
            self._programs.give(self._sockets)
            self._process = self._programs.start(
                "postgres",
                "-D", str(self._data),
                "-p", str(_PORT),
                "-c", "listen_addresses=",
                "-c", f"unix_socket_directories={self._sockets}",
                "-c", "max_connections=104",  # that of 0.5 CU
                "-c", "shared_buffers=32MB",
                "-c", "max_parallel_workers_per_gather=0",
                cwd=self._directory,
                log=self._log(),
            )  # fmt: skip
            self._wait(self._process)

    def stop(self, mode: str = "fast") -> None:
        """Stop it, ending its sessions; nothing to do when it does not run."""
        with self._lock:
            if self.is_running:
                self._stop(mode)
            if self._process is not None:
                self._process.wait(_SECONDS)
            if self._sockets is not None:
                shutil.rmtree(self._sockets, ignore_errors=True)
            self._process = self._sockets = None

    def remove(self) -> None:
        """Stop it and remove all of it."""
        self.stop("immediate")
        shutil.rmtree(self._directory, ignore_errors=True)

    def let_in(self, role: str, password: str, until: str) -> None:
        """Let ``role``, an owner, sign in with ``password`` until then; open sessions go on."""
        from psycopg import sql

        name, valid = sql.Identifier(role), sql.Literal(until)
        with self._connect(DATABASE) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE IN ROLE {}").format(
                        name, sql.Identifier(SUPERUSER)
                    )
                )
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {} VALID UNTIL {}").format(name, sql.Literal(password), valid)
            )

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _end_orphan(self) -> None:
        """Stop what a workspace that was killed left running: its sockets are known to nobody."""
        try:
            sockets = Path((self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[4])
        except (OSError, IndexError):
            return
        with contextlib.suppress(ClusterError):  # it was killed, too
            self._stop("immediate")
        if sockets.name.startswith(_SOCKETS):
            shutil.rmtree(sockets, ignore_errors=True)

    def _log(self) -> Path:
        log = self._directory / "postgres.log"
        log.touch(mode=0o600)
        return log

    def _stop(self, mode: str) -> None:
        self._programs.run(
            "pg_ctl", "stop", "-D", str(self._data), "-w", "-t", f"{_SECONDS:.0f}", "-m", mode, cwd=self._directory
        )

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        import psycopg

        end = time.monotonic() + _SECONDS
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self._connect("template1").close()
                return
            if process.poll() is not None or time.monotonic() > end:
                said = (self._directory / "postgres.log").read_text(errors="replace").splitlines()[-3:]
                raise ClusterError(f"PostgreSQL does not start: {' | '.join(said)}")
            time.sleep(0.02)

    def _connect(self, database: str) -> "psycopg.Connection[Any]":
        import psycopg

        return psycopg.connect(
            host=str(self.socket.parent),
            port=_PORT,
            user=ADMIN,
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
            hostaddr="",
        )


def new_password() -> str:
    """A password for the superuser, or a token."""
    return secrets.token_urlsafe(32)
