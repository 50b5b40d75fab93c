"""GRANT and REVOKE, read token by token."""

from dataclasses import dataclass

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.tokens import Parts, Reader

_KINDS = (
    "CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "VOLUME", "FUNCTION", "METASTORE", "EXTERNAL LOCATION",
    "STORAGE CREDENTIAL", "CONNECTION", "SHARE", "PROCEDURE",
)  # fmt: skip
PRIVILEGES = frozenset(
    {
        "ALL PRIVILEGES", "APPLY TAG", "BROWSE", "CREATE CATALOG", "CREATE FUNCTION", "CREATE MATERIALIZED VIEW",
        "CREATE MODEL", "CREATE SCHEMA", "CREATE TABLE", "CREATE VIEW", "CREATE VOLUME", "EXECUTE",
        "EXTERNAL USE SCHEMA", "MANAGE", "MODIFY", "READ VOLUME", "REFRESH", "SELECT", "USE CATALOG", "USE SCHEMA",
        "WRITE VOLUME",
    }
)  # fmt: skip
# What the legacy metastore says for one of them.
_OLD = {"USAGE": "USE SCHEMA", "CREATE": "CREATE TABLE"}


@dataclass(frozen=True)
class Permit:
    """``GRANT`` (``revoke`` False) or ``REVOKE``."""

    revoke: bool
    privileges: tuple[str, ...]
    kind: str
    parts: Parts
    principal: str


def securable(reader: Reader) -> tuple[str, Parts]:
    """What grants are on: ``TABLE a.b.c``, ``SCHEMA s``, or a bare name, which is a table's."""
    for kind in _KINDS:
        if reader.accept(*kind.split()):
            if kind in ("CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "VOLUME", "FUNCTION"):
                plain = {"DATABASE": "SCHEMA", "VIEW": "TABLE"}.get(kind, kind)
                return plain, reader.name()
            raise errors.unsupported(f"A privilege on {kind}")
    return "TABLE", reader.name()


def read_permit(reader: Reader, *, revoke: bool) -> Permit:
    """The rest of a GRANT or REVOKE."""
    privileges = [_privilege(reader)]
    while reader.accept(","):
        privileges.append(_privilege(reader))
    reader.expect("ON")
    kind, parts = securable(reader)
    reader.expect("FROM" if revoke else "TO")
    principal = reader.identifier()
    reader.end()
    return Permit(revoke, tuple(privileges), kind, parts, principal)


def _privilege(reader: Reader) -> str:
    words = [reader.value().upper()]
    while not reader.next_is(",", "ON"):
        words.append(reader.value().upper())
    found = " ".join(words).replace("_", " ")
    found = _OLD.get(found, found)
    if found not in PRIVILEGES:
        raise errors.syntax_error(f"Syntax error at or near '{found}': no privilege of that name is known.")
    return found
