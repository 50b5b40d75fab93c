"""``docs/tables.md``, made from ``records``: ``python -m dqctl.tables.document [--check] FILE``."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dqctl import records
from dqctl.files import write_atomically
from dqctl.records import Table
from dqctl.tables import ddl
from dqctl.tables.state_tables import STATE_TABLES

_HEAD = """# Published tables

Made from `dqctl/records.py` by `python -m dqctl.tables.document docs/tables.md`; do not edit.

They live in one schema, `DQCTL_CATALOG`.`DQCTL_SCHEMA` (default `main`.`data_quality`). `dqctl tables init` makes
them and brings them up to date, `dqctl tables show` says what is there. A publish writes a run's rows into the
content tables, compares what is there with what was sent (few rows value by value, many by a checksum that the
warehouse computes), and only then writes the run's row into `dq_runs`: join with `dq_runs` and you see complete
runs only. Publishing a run again replaces its rows by the same rows. Definitions, scores and systems are those of
the time when the run was published.

Timestamps are UTC. Times outside of the years 1 to 9999, and decimals that are no number, are NULL. Columns that a
version of TestGen does not have are NULL. A file of many rows passes through the volume `dqctl_staging` in the
same schema and is removed after loading.

Beside them lie tables `dq_cli_<command>`, made when `dqctl testgen --publish` first has rows for them: what a
stock command of TestGen said, see [testgen-commands.md](testgen-commands.md).
`dq_state_log` and `dq_state_commits` are made when TestGen's metadata is first saved, see [state.md](state.md).
"""

_VIEWS = """## Views

- `dq_latest_results`: the latest result of every test, with the columns of `dq_test_results`.
- `dq_failures_over_time`: tests by outcome, one row a run and table.
"""


def document() -> str:
    """The whole page as Markdown."""
    sections = ["\n".join(_section(table)) for table in (*records.TABLES, *STATE_TABLES, ddl.MIGRATIONS)]
    return "\n".join([_HEAD, *sections, _VIEWS])


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n"
    yield f"{table.comment}\n"
    yield f"Key: {_names(table.key)}. Clustered by {_names(table.cluster_by)}.\n"
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for column in table.columns:
        required = ", never NULL" if column.required else ""
        yield f"| `{column.name}` | {column.type}{required} | {column.comment.replace('|', chr(92) + '|')} |"
    yield ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with ``--check`` say by the exit code whether it is up to date."""
    path = Path(arguments[-1])
    if "--check" in arguments:
        return 0 if path.exists() and path.read_text(encoding="utf-8") == document() else 1
    write_atomically(path, document())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
