"""A new version of TestGen on a copy of the metadata: it migrates it, and what it made of it is judged."""

import re
from dataclasses import dataclass

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault, TestGenFailed
from dqctl.redaction import redact
from dqctl.runtime import MetadataServer, Runtime
from dqctl.testgen import upgrades
from dqctl.testgen.looking import Look
from dqctl.testgen.state import capture
from dqctl.testgen.upgrades import Changes

_MIGRATION = 3600.0  # seconds; 48 scripts take nine for a small database
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Violation|Refused|Object|Column|Table|Function)\b.*:|\([\w.]+\) ")
_SAFE = "the stack is what it was before: nothing of it was touched"
_SCRIPT = re.compile(r"Applying upgrade script (\d+)")


@dataclass(frozen=True)
class Migrated:
    """What a migration made of a database: what changed, and its rows by table now."""

    changes: Changes
    rows: dict[str, int]


def migrate(new: Runtime, server: MetadataServer, database: str) -> Migrated:
    """Let ``new`` migrate the database. Raises ``TestGenFailed`` when it fails, or stops half way,
    ``EnvironmentFault`` when the disk is full.
    """
    with server.connect(database) as connection:
        capture.end(connection)
        connection.commit()
        before = upgrades.picture(connection)
    expected = new.health().expected_revision
    completed = new.run(
        ["upgrade-system-version"],
        deadline=Deadline(_MIGRATION),
        environment={"TG_METADATA_DB_NAME": database},
    )
    said = completed.stdout + completed.stderr
    if completed.exit_code and server.ran_out_of_space(said):
        raise EnvironmentFault(
            f"the disk is full: TestGen {new.version} could not migrate a copy of the metadata",
            f"{_SAFE}; free some space, then run the same command again",
        )
    with server.connect(database) as connection:
        after = upgrades.picture(connection)
    # Its exit code tells little: the database does.
    if completed.exit_code or after.revision != expected:
        raise TestGenFailed(
            f"TestGen {new.version} cannot migrate the metadata: {_reason(said)}",
            f"{_SAFE}. The whole of what it said is in {new.paths.logs}",
        )
    return Migrated(upgrades.compare(before, after), dict(after.rows))


def judge(found: Migrated, before: Look, after: Look) -> None:
    """Raise ``TestGenFailed`` for what must not be: rows without a reason, runs or secrets that are lost."""
    if unexplained := found.changes.unexplained:
        said = ", ".join(f"{each.table} {each.before} -> {each.after}" for each in unexplained)
        raise TestGenFailed(
            f"after the migration tables have other rows, and nobody knows why: {said}",
            f"{_SAFE}. Look into these tables before you try again, and report it",
        )
    if not found.changes.runs_kept:
        raise TestGenFailed(
            "after the migration jobs have other ids: what is published would be published again", _SAFE
        )
    lost = [name for name, count in after.lost.items() if count > before.lost.get(name, 0)]
    lost += [name for name, known in before.secrets.items() if after.secrets.get(name) != known]
    if lost:
        raise TestGenFailed(
            f"after the migration stored secrets cannot be decrypted: {', '.join(sorted(set(lost)))}", _SAFE
        )


def _reason(said: str) -> str:
    """Why, of all that it said: TestGen prints its tracebacks on stdout, the statement after the exception."""
    lines = redact(said).splitlines()
    reasons = [line.strip() for line in lines if _EXCEPTION.match(line)] or [line for line in lines if line][-1:]
    scripts = _SCRIPT.findall(said)
    where = f"script {scripts[-1]}: " if scripts else ""
    return where + (reasons[-1][:300] if reasons else "it said nothing")
