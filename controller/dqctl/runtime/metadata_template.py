"""The metadata database as TestGen's set-up leaves it, kept as SQL: the next stack of the version has it at once.

The set-up takes TestGen 5 s and more, each time with the same outcome but for ids, times, and what is the stack's
own: its first user's password, and the password of the roles that versions up to 5.92.2 make. The first set-up of
a version on a machine is kept without any of these; later ones are its SQL with new ids and the stack's own
secrets put in. What is kept is known by what it was made from and by its checksum; whatever does not fit is left
aside and made anew by a set-up.
"""

import contextlib
import hashlib
import logging
import re
import secrets
import string
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.files import write_atomically
from dqctl.progress import Progress
from dqctl.redaction import holds_secret, reveal
from dqctl.runtime.ports import MetadataServer, Runtime
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import LENGTHS, read_secret
from dqctl.testgen.state import ddl

_log = logging.getLogger(__name__)

_FORMAT = 1
_TIMEOUT = 120.0  # seconds for pg_dump (0.1 s), and for one hash (0.3 s)
_KEPT = 4  # templates of one version: a developer's images come and go
_HEADER = "-- Fresh metadata of TestGen, kept by dqctl. "

# What psql understands and no server does (pg_dump since 16.10 and 15.14).
_OF_PSQL = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
_BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_OF_HASHES = f"./{string.ascii_letters}{string.digits}"
_PASSWORD_HASH = "@dqctl: hash of the first user's password@"  # noqa: S105 - what stands in its place
# All ids that a set-up makes are random, but for this one (suite_versions; 5.134.0).
_UUID = re.compile(r"'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'")
_NIL = "'00000000-0000-0000-0000-000000000000'"

# As TestGen hashes it (streamlit-authenticator's Hasher in 5.33.3 to 5.134.0), without its imports of 2 s.
# Not with -I: the image built here has its packages where PYTHONPATH leads.
_HASH = "import bcrypt, sys; sys.stdout.write(bcrypt.hashpw(sys.stdin.buffer.read(), bcrypt.gensalt()).decode())"


@dataclass(frozen=True)
class Template:
    """What is kept for stacks like that of ``runtime``.

    ``made_from`` tells apart what may differ in more than ids: TestGen's package or image, and PostgreSQL.
    """

    runtime: Runtime
    made_from: str
    progress: Progress

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        name = hashlib.sha256(self._identity.encode()).hexdigest()[:32]
        return directory(self.runtime.paths, self.runtime.version) / f"{name}.sql"

    @property
    def _identity(self) -> str:
        return f"format {_FORMAT}\nTestGen {self.runtime.version}\n{self.made_from}\n"

    def restore(self, server: MetadataServer, database: str, revision: int) -> bool:
        """Make ``database``, which must not be there, out of what is kept; False when nothing was made.

        ``revision`` is the schema revision that it has to have. Raises ``EnvironmentFault`` when the server goes
        away or has no space.
        """
        text = self._read()
        hashed = self._hash() if text else None
        if text is None or hashed is None:
            return False
        self.progress("making TestGen's metadata database as an earlier set-up left it")
        try:
            with server.connect("postgres", autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
            with server.connect(database) as connection:
                password = reveal(read_secret(self.runtime.paths, "postgres_password"))
                ddl.ensure_roles(connection, ddl.roles({"before": text}), password.encode())
                ddl.run(connection, _filled(text, hashed))
                found = connection.execute(
                    "SELECT revision FROM testgen.tg_revision WHERE component = 'metadata_db'"
                ).fetchone()
                if found is None or int(found[0]) != revision:
                    raise psycopg.DataError(f"schema revision {found}, not {revision}")
        except psycopg.Error as error:
            _log.warning("the template %s does not fit and is removed: %s", self.path, error)
            with server.connect("postgres", autocommit=True) as connection:
                connection.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
                )
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            return False
        return True

    def keep(self, database: str) -> None:
        """Keep ``database``, as a set-up has just left it, for the stacks to come.

        Where that cannot be done, the log says so: this stack needs nothing of it.
        """
        try:
            completed = self.runtime.database_program(
                ["pg_dump", "--no-owner", "--inserts", "--rows-per-insert=1000", f"--dbname={database}"],
                deadline=Deadline(_TIMEOUT),
            )
            if completed.exit_code:
                _log.warning("no template is kept: pg_dump: %s", completed.stderr.strip()[-300:])
                return
            text, hashes = _BCRYPT.subn(_PASSWORD_HASH, _OF_PSQL.sub("", completed.stdout))
            for name in LENGTHS:
                read_secret(self.runtime.paths, name)  # known to redaction from here on
            if hashes != 1 or holds_secret(text):
                _log.warning("no template is kept: the set-up left %d hashes, or a secret", hashes)
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, f"{self._header(text)}{text}")
            self._remove_oldest()
        except (EnvironmentFault, OSError) as error:
            _log.warning("no template is kept: %s", error)

    def _read(self) -> str | None:
        try:
            whole = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            _log.warning("the template %s cannot be read: %s", self.path, error)
            return None
        header, newline, text = whole.partition("\n")
        if header + newline == self._header(text):
            return text
        _log.warning("the template %s is damaged, or that of another TestGen: it is made anew", self.path)
        return None

    def _header(self, text: str) -> str:
        checksum = hashlib.sha256((self._identity + text).encode()).hexdigest()
        return f"{_HEADER}sha256 {checksum}\n"

    def _hash(self) -> str | None:
        if self.runtime.record.throw_away:
            # Nobody signs in to the web application of such a stack: one that no password is known to have.
            return "$2b$12$" + "".join(secrets.choice(_OF_HASHES) for _ in range(53))
        password = reveal(read_secret(self.runtime.paths, "testgen_password"))
        done = self.runtime.run(["-P", "-c", _HASH], program="python", stdin=password, deadline=Deadline(_TIMEOUT))
        if done.exit_code == 0 and _BCRYPT.fullmatch(done.stdout):
            return done.stdout
        _log.warning("TestGen's Python does not hash: %s", done.stderr.strip()[-300:])
        return None

    def _remove_oldest(self) -> None:
        kept = sorted(self.path.parent.glob("*.sql"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_KEPT]:
            path.unlink(missing_ok=True)


def directory(paths: StackPaths, version: str) -> Path:
    """Where the templates of a version of TestGen are; stacks share them as they share its programs."""
    return paths.environments / f"metadata-{version}"


def _filled(text: str, hashed: str) -> str:
    """The SQL for one stack: with ids of its own, and its first user's password."""
    ids: defaultdict[str, str] = defaultdict(lambda: f"'{uuid4()}'")
    ids[_NIL] = _NIL
    return _UUID.sub(lambda found: ids[found[0]], text).replace(_PASSWORD_HASH, hashed)
