"""Names and literals in SQL text, safely."""

from dataclasses import dataclass

STAGING_VOLUME = "dqctl_staging"
MIGRATIONS_TABLE = "dq_migrations"


@dataclass(frozen=True)
class Place:
    """The schema that the published tables live in."""

    catalog: str
    schema: str

    def table(self, name: str) -> str:
        """``name`` with catalog and schema, quoted."""
        return f"{self.quoted}.{identifier(name)}"

    @property
    def quoted(self) -> str:
        """Catalog and schema, quoted."""
        return f"{identifier(self.catalog)}.{identifier(self.schema)}"

    def volume_path(self, *parts: str) -> str:
        """Path of a file in the volume that rows are staged in."""
        return "/".join((f"/Volumes/{self.catalog}/{self.schema}/{STAGING_VOLUME}", *parts))


def identifier(name: str) -> str:
    """``name`` as a quoted identifier."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """``text`` as a string literal: backslashes count in Databricks SQL, as in Spark."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
