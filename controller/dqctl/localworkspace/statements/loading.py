"""Rows on their way into a table: cast to its columns, checked against its constraints, written, committed.

The engine computes the rows of every statement that writes and the workspace commits them, so that casts,
constraints, counts and history are the same whatever the engine.
"""

import json
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from dqctl.localworkspace import delta, errors, transaction_log
from dqctl.localworkspace.catalog import Table, quoted
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql.names import parts_of
from dqctl.localworkspace.sql.pruning import may_match
from dqctl.localworkspace.sql.relations import at_path
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.types import Column

ACTION = "_action"
# What becomes of a row: the last three leave it out, and the last two of those refuse the statement.
KEPT, UPDATED, INSERTED, DELETED, IGNORED, MISPLACED, AMBIGUOUS = range(7)

_CONSTRAINT = "delta.constraints."


@dataclass(frozen=True)
class Target:
    """A table that a statement writes, as it is before."""

    table: Table
    path: Path
    before: transaction_log.Snapshot
    columns: tuple[Column, ...]
    # Whether the statement adds columns: ``before`` has its files, but the new schema.
    evolved: bool = False

    @property
    def checks(self) -> dict[str, str]:
        """The conditions of CHECK constraints, by name."""
        return {
            key.removeprefix(_CONSTRAINT): text
            for key, text in self.before.configuration.items()
            if key.startswith(_CONSTRAINT)
        } | {one.name: one.expression or "" for one in self.table.constraints if one.kind == "CHECK"}

    @property
    def types(self) -> dict[str, Any]:
        """Delta's types, by lower-case name."""
        return {each["name"].lower(): each["type"] for each in self.before.fields}

    def default(self, name: str) -> str:
        """The SQL of what a column holds that a statement leaves out."""
        for each in self.before.fields:
            if each["name"].lower() == name.lower():
                return str(each["metadata"].get("CURRENT_DEFAULT", "NULL"))
        return "NULL"


@dataclass
class Tally:
    """What became of the rows, as they passed."""

    rows: Counter[int] = field(default_factory=Counter)

    @property
    def changed(self) -> int:
        """Rows that are not as they were."""
        return self.rows[UPDATED] + self.rows[INSERTED] + self.rows[DELETED]


def table_of(target: exp.Expr, context: Context) -> Table:
    """The table that a statement names; ``StatementError`` for a view or anything else."""
    if not isinstance(target, exp.Table) or not isinstance(target.this, exp.Identifier):
        raise errors.unsupported(f"Writing to {target.sql('databricks')}")
    table = context.catalog.table(context.namespace.full(parts_of(target)))
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    return table


def opened(table: Table, context: Context) -> Target:
    """The table as it is now. The caller is its one writer."""
    # Again: another session may have dropped it, or given it a constraint, before this one got the lock.
    table = context.catalog.table(table.name)
    path = context.catalog.path(table)
    target = Target(table, path, transaction_log.read(path), delta.columns(path))
    for each in target.before.fields:
        for key, what in (("delta.generationExpression", "generated"), ("delta.identity.start", "identity")):
            if key in each["metadata"]:
                raise errors.unsupported(f"Writing to {table.name}, which has the {what} column {each['name']},")
    if target.before.configuration.get("delta.columnMapping.mode", "none") != "none":
        raise errors.unsupported(f"Writing to {table.name}, whose columns are mapped to other names,")
    if target.before.configuration.get("delta.enableChangeDataFeed", "false").lower() == "true":
        raise errors.unsupported(f"Writing to {table.name}, which keeps a change data feed,")
    return target


@contextmanager
def part(target: Target, condition: exp.Expr | None) -> Iterator[tuple[exp.Table, transaction_log.Files]]:
    """A relation of the files that may hold rows that ``condition`` means, and their ``add`` actions, by path.

    ``condition`` None means all. Where only some files count, they are linked into a table of their own.
    """
    files = target.before.files
    types = target.types
    chosen = {
        name: added for name, added in files.items() if condition is None or may_match(condition, added, types)
    }
    with some(target, chosen) as found:
        yield found


@contextmanager
def some(target: Target, chosen: transaction_log.Files) -> Iterator[tuple[exp.Table, transaction_log.Files]]:
    """A relation of these files of the table, and which files it has: all, if they cannot be had alone."""
    files = target.before.files
    if len(chosen) == len(files) or any(added.get("deletionVector") for added in chosen.values()):
        yield at_path(target.path), files
        return
    place = target.path / f"_part-{uuid.uuid4().hex}"
    try:
        for name in chosen:
            transaction_log.link(target.path / unquote(name), place / unquote(name))
        transaction_log.commit(
            place,
            None,
            transaction_log.Commit("WRITE"),
            added=chosen.values(),
            metadata=target.before.metadata,
            protocol=target.before.protocol,
        )
        yield at_path(place), chosen
    finally:
        shutil.rmtree(place, ignore_errors=True)


def cast(value: str, column: Column, known: str | None = None) -> str:
    """``value`` as the column stores it; ``known`` is its type, if that is known."""
    if column.base_type == "char":
        return (
            f"rpad(CAST({value} AS STRING), {_length(column)}, ' ')" if value != "NULL" else "CAST(NULL AS STRING)"
        )
    return value if known == column.storage_type else f"CAST({value} AS {column.storage_type})"


def _length(column: Column) -> int:
    return int(re.findall(r"\d+", column.type)[0])


def write(sql: str, target: Target, context: Context, tally: Tally | None = None) -> list[transaction_log.Action]:
    """Run ``sql`` and write its rows into files of the table that no version has yet.

    ``sql`` gives the table's columns, in order and type, and with a ``tally`` the ACTION, what became of each row.
    ``StatementError`` when a row breaks a constraint.
    """
    checks = list(target.checks.items())
    if checks:
        made = ", ".join(f"({text}) AS `_check_{index}`" for index, (_, text) in enumerate(checks))
        sql = f"SELECT *, {made} FROM ({sql}) AS {quoted(target.table.name.name)}"  # noqa: S608 - the table's own
    schema = delta.schema_of(target.before.metadata["schemaString"])
    # Closed here, not when the collector finds it: the engine's answer is read to its end or given up.
    with closing(context.engine.stream(sql)) as found:
        batches = _checked(found, target, context, tally)
        return transaction_log.stage(target.path, delta.Counted(schema, batches), target.before.partition_columns)


def _checked(
    batches: Iterator[pa.RecordBatch], target: Target, context: Context, tally: Tally | None
) -> Iterator[pa.RecordBatch]:
    """The batches as the table keeps them, as far as its constraints and the client allow."""
    width = len(target.columns)
    for batch in batches:
        if context.stop.is_set():
            raise errors.cancelled()
        found = batch
        if tally is not None:
            actions = found.column(width)
            for one in pc.value_counts(actions).to_pylist():
                tally.rows[one["values"]] += one["counts"]
            _refuse(tally)
            found = found.filter(pc.less_equal(actions, INSERTED))
        _check(found, target, width + (tally is not None))
        yield found.select(list(range(width)))


def _refuse(tally: Tally) -> None:
    if tally.rows[MISPLACED]:
        raise StatementError(
            "DELTA_REPLACE_WHERE_MISMATCH",
            "Written data does not conform to partial table overwrite condition or constraint.",
            "44000",
        )
    if tally.rows[AMBIGUOUS]:
        raise StatementError(
            "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE",
            "Cannot perform Merge as multiple source rows matched and attempted to modify the same target row in "
            "the Delta table in possibly conflicting ways.",
            "21506",
        )


def _check(batch: pa.RecordBatch, target: Target, first: int) -> None:
    for index, column in enumerate(target.columns):
        values = batch.column(index)
        if not column.nullable and values.null_count:
            raise StatementError(
                "DELTA_NOT_NULL_CONSTRAINT_VIOLATED",
                f"NOT NULL constraint violated for column: {column.name} of {target.table.name}.",
                "23502",
            )
        if column.base_type in ("char", "varchar") and batch.num_rows:
            longest = pc.max(pc.utf8_length(values)).as_py()
            if longest is not None and longest > _length(column):
                raise StatementError(
                    "DELTA_EXCEED_CHAR_VARCHAR_LIMIT",
                    f"Value exceeds char/varchar type length limitation of {column.name} in {target.table.name}. "
                    f"Failed check: (length({column.name}) <= {_length(column)}).",
                    "22001",
                )
    for number, (name, text) in enumerate(target.checks.items()):
        # As in Delta, a condition that is unknown does not hold.
        holds = pc.fill_null(batch.column(first + number), False)
        if not pc.all(holds, min_count=0).as_py():
            row = batch.filter(pc.invert(holds)).slice(0, 1).select(range(len(target.columns))).to_pylist()[0]
            values_text = "\n".join(f" - {key} : {value}" for key, value in row.items())
            raise StatementError(
                "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",
                f"CHECK constraint {name} ({text}) violated by row with values:\n{values_text}",
                "23001",
            )


def rows_in(added: Iterable[transaction_log.Action]) -> int:
    """How many rows files have, by their statistics."""
    return sum(int(json.loads(each.get("stats") or "{}").get("numRecords", 0)) for each in added)


def rows_of(relation: exp.Table, files: Sequence[transaction_log.Action], context: Context) -> int:
    """How many rows there are in files, which ``relation`` reads."""
    if all("numRecords" in (each.get("stats") or "") and not each.get("deletionVector") for each in files):
        return rows_in(files)
    with context.planned(exp.select("count(*)").from_(relation)) as sql:
        return int(context.engine.query(sql).column(0)[0].as_py())


def commit(
    target: Target,
    what: transaction_log.Commit,
    *,
    added: Iterable[transaction_log.Action] = (),
    removed: Iterable[transaction_log.Action] = (),
) -> None:
    """Make the table's next version, with the columns that ``target`` has."""
    transaction_log.commit(
        target.path,
        target.before,
        what,
        added=added,
        removed=[transaction_log.removal(each) for each in removed],
        metadata=target.before.metadata if target.evolved else None,
    )


def commit_changes(
    target: Target,
    what: transaction_log.Commit,
    tally: Tally,
    *,
    added: Sequence[transaction_log.Action],
    removed: Iterable[transaction_log.Action],
) -> None:
    """As ``commit``; without a changed row there is no version, and what was written goes."""
    if tally.changed:
        commit(target, what, added=added, removed=removed)
        return
    for each in added:
        (target.path / unquote(each["path"])).unlink(missing_ok=True)


def planned(tree: exp.Expr, context: Context, stack: ExitStack) -> str:
    """The text of a query for the engine, which holds until ``stack`` closes."""
    return stack.enter_context(context.planned(tree))


def known(name: str, target: Target) -> str:
    """The table's own spelling of a column; ``StatementError`` when it has none of that name."""
    for column in target.columns:
        if column.name.lower() == name.lower():
            return column.name
    raise errors.unresolved_column(quoted(name))


def column_of(column: exp.Column, target: Target, alias: str) -> str:
    """The column of the table that an assignment names: bare, or behind the table's name or alias."""
    parts = [part.name for part in column.parts]
    if len(parts) > 1 and ".".join(parts[:-1]).lower() not in _spellings(target.table, alias):
        raise errors.unsupported(f"Assigning to {column.sql('databricks')}, a field of a column,")
    return known(parts[-1], target)


def _spellings(table: Table, alias: str) -> set[str]:
    name = table.name
    return {alias.lower(), name.name, f"{name.schema}.{name.name}", f"{name.catalog}.{name.schema}.{name.name}"}


def localize(tree: exp.Expr, table: Table, alias: str) -> None:
    """Columns behind the table's full name stand behind its alias, which is all that the engine sees."""
    for column in tree.find_all(exp.Column):
        qualifier = ".".join(part.name.lower() for part in column.parts[:-1])
        if "." in qualifier and qualifier in _spellings(table, alias):
            column.set("table", exp.to_identifier(alias, quoted=True))
            column.set("db", None)
            column.set("catalog", None)


def outputs(target: Target) -> list[exp.Expr]:
    """The table's columns, to select; those that its files do not have yet are NULL."""
    there = {each.name for each in delta.columns(target.path)}
    return [
        exp.column(exp.to_identifier(column.name, quoted=True))
        if column.name in there
        else exp.alias_(exp.cast(exp.null(), column.storage_type, dialect="databricks"), column.name, quoted=True)
        for column in target.columns
    ]


def does_not_hold(condition: exp.Expr) -> exp.Expr:
    """The condition of the rows for which ``condition`` is not true."""
    return exp.Not(
        this=exp.Anonymous(this="coalesce", expressions=[exp.Paren(this=condition.copy()), exp.false()])
    )


def is_default(value: exp.Expr) -> bool:
    """Whether it is the word DEFAULT."""
    bare = isinstance(value, exp.Column) and len(value.parts) == 1 and not value.this.args.get("quoted")
    return (bare or isinstance(value, exp.Var)) and value.name.upper() == "DEFAULT"


def expression(text: str) -> exp.Expr:
    """The tree of an expression that the table keeps as text."""
    query = parse_tree(f"SELECT {text}")
    found: exp.Expr = query.expressions[0].unalias()
    return found.pop()


def stored(error: Exception, tree: exp.Expr) -> Exception:
    """What a value that does not fit its column is called: by its own cast, or by the table's."""
    found = errors.from_engine(error)
    if found.error_class == "CAST_OVERFLOW" and tree.find(exp.Cast) is None:
        return StatementError(
            "CAST_OVERFLOW_IN_TABLE_INSERT",
            f"Fail to assign a value to a column of the table due to an overflow: {error}",
            "22003",
        )
    return found
