"""Rows on their way into a table: cast to its columns, completed, checked against its constraints, written.

The engine computes the rows of every statement that writes and the workspace commits them, so that casts,
constraints, counts and history are the same whatever the engine. It is long because all statements that write
share what is here: the table as they found it, and the one way of its rows from the engine into files.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
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
from dqctl.localworkspace.generated import Identity, expression_of, identity_of
from dqctl.localworkspace.sql.names import parts_of
from dqctl.localworkspace.sql.pruning import may_match
from dqctl.localworkspace.sql.relations import Pin, at_path
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.table_properties import checks_in
from dqctl.localworkspace.types import Column, columns_from_delta

ACTION = "_dqctl_action"
# What becomes of a row: the last three leave it out, and the last two of those refuse the statement.
KEPT, UPDATED, INSERTED, DELETED, IGNORED, MISPLACED, AMBIGUOUS = range(7)

_RANDOM = frozenset({"rand", "random", "randn", "uuid", "shuffle", "monotonically_increasing_id", "randstr"})


@dataclass(frozen=True)
class Target:
    """A table that a statement writes, as it is before. New files wait in ``scratch`` for the commit."""

    table: Table
    path: Path
    before: transaction_log.Snapshot
    columns: tuple[Column, ...]
    pin: Pin
    scratch: Path
    # The columns that the statement adds: ``before`` has its files, but the new schema.
    new: frozenset[str] = frozenset()
    # The columns, in lower case, of which the statement itself says what every row has there.
    given: frozenset[str] = frozenset()

    @property
    def checks(self) -> list[tuple[str, str]]:
        """The names and conditions of what every row fulfils."""
        return [
            *((one.name, one.expression or "") for one in checks_in(self.before.configuration)),
            *(("Generated Column", f"{quoted(name)} <=> {text}") for name, text in self.expressions.items()),
        ]

    @property
    def expressions(self) -> dict[str, str]:
        """The expressions of generated columns, as their types, by the column's name."""
        kinds = {column.name: column.storage_type for column in self.columns}
        return {
            each["name"]: f"CAST(({text}) AS {kinds[each['name']]})"
            for each in self.before.fields
            if (text := expression_of(each)) is not None
        }

    @property
    def identities(self) -> list[Identity]:
        """The identity columns of which the statement does not say what they hold."""
        found = [identity_of(each) for each in self.before.fields]
        return [one for one in found if one is not None and one.name.lower() not in self.given]

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


@contextmanager
def transaction(table: Table, context: Context) -> Iterator[Target]:
    """The table as it is now, and as the statement reads it under its name until it ends."""
    # Again: another session may have dropped it, or given it a constraint, since it was looked up.
    table = context.catalog.table(table.name)
    path = context.catalog.path(table)
    before = transaction_log.read(path)
    columns = columns_from_delta(before.metadata["schemaString"])
    pin = context.pinned[path] = Pin(before.version)
    try:
        with transaction_log.scratch(path, "staging") as scratch:
            target = Target(table, path, before, columns, pin, scratch)
            _check_writable(target)
            yield target
    finally:
        del context.pinned[path]


def _check_writable(target: Target) -> None:
    table = target.table
    if target.before.configuration.get("delta.columnMapping.mode", "none") != "none":
        raise errors.unsupported(f"Writing to {table.name}, whose columns are mapped to other names,")
    if target.before.configuration.get("delta.enableChangeDataFeed", "false").lower() == "true":
        raise errors.unsupported(f"Writing to {table.name}, which keeps a change data feed,")


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
        yield whole(target), files
        return
    with transaction_log.scratch(target.path, "part") as place:
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


def whole(target: Target) -> exp.Table:
    """A relation of all rows that the table had when the statement began."""
    return at_path(target.path, target.before.version)


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
    sql = _completed(sql, target, tallied=tally is not None)
    if target.checks:
        made = ", ".join(f"({text}) AS `_dqctl_check_{index}`" for index, (_, text) in enumerate(target.checks))
        sql = f"SELECT *, {made} FROM ({sql}) AS {quoted(target.table.name.name)}"  # noqa: S608 - the table's own
    schema = delta.schema_of(target.before.metadata["schemaString"])
    # Closed here, not when the collector finds it: the engine's answer is read to its end or given up.
    with closing(context.engine.stream(sql)) as found:
        batches = _checked(found, target, context, tally)
        return delta.stage(target.scratch, delta.Counted(schema, batches), target.before.partition_columns)


def _completed(sql: str, target: Target, *, tallied: bool) -> str:
    """The rows with the values of generated columns that the statement does not give, and those of identities."""
    made = {name: text for name, text in target.expressions.items() if name.lower() not in target.given}
    for one in target.identities:
        # Rows that are there have theirs; the others are counted apart, so that no value is left out.
        which = f"PARTITION BY {ACTION} = {INSERTED} " if tallied else ""
        value = f"{one.next} + {one.step} * (CAST(row_number() OVER ({which}ORDER BY 1) AS BIGINT) - 1)"
        made[one.name] = f"CASE WHEN {ACTION} = {INSERTED} THEN {value} END" if tallied else value
    if not made:
        return sql
    selected = [
        f"coalesce({quoted(column.name)}, {made[column.name]}) AS {quoted(column.name)}"
        if column.name in made
        else quoted(column.name)
        for column in target.columns
    ]
    selected += [ACTION] if tallied else []
    return f"SELECT {', '.join(selected)} FROM ({sql}) AS {quoted(target.table.name.name)}"  # noqa: S608 - as above


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
            found = _without_views(found).filter(pc.less_equal(actions, INSERTED))
        _check(found, target, width + (tally is not None))
        yield found.select(list(range(width)))


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with plain texts and bytes: pyarrow 26 filters no string views, which functions of Sail return."""
    plain = [
        pa.string() if pa.types.is_string_view(kind) else pa.binary() if pa.types.is_binary_view(kind) else kind
        for kind in batch.schema.types
    ]
    columns = [
        column if column.type.equals(kind) else column.cast(kind)
        for column, kind in zip(batch.columns, plain, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


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
    """CHECK is looked at first, as in Delta: a NULL that breaks it and NOT NULL is reported as the former."""
    for number, (name, text) in enumerate(target.checks):
        # As in Delta, a condition that is unknown does not hold.
        holds = pc.fill_null(batch.column(first + number), False)
        if not pc.all(holds, min_count=0).as_py():
            row = (
                _without_views(batch)
                .filter(pc.invert(holds))
                .slice(0, 1)
                .select(range(len(target.columns)))
                .to_pylist()[0]
            )
            values_text = "\n".join(f" - {key} : {value}" for key, value in row.items())
            raise StatementError(
                "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",
                f"CHECK constraint {name} ({text}) violated by row with values:\n{values_text}",
                "23001",
            )
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


def rows_in(added: Iterable[transaction_log.Action]) -> int:
    """How many rows files have, by their statistics."""
    return sum(int(json.loads(each.get("stats") or "{}").get("numRecords", 0)) for each in added)


def rows_of(relation: exp.Table, files: Sequence[transaction_log.Action], context: Context) -> int:
    """How many rows there are in files, which ``relation`` reads."""
    if all("numRecords" in (each.get("stats") or "") and not each.get("deletionVector") for each in files):
        return rows_in(files)
    with context.planned(exp.select("count(*)").from_(relation)) as sql:
        return int(context.engine.query(sql).column(0)[0].as_py())


def planned(tree: exp.Expr, context: Context, stack: ExitStack) -> str:
    """The text of a query for the engine, which holds until ``stack`` closes."""
    return stack.enter_context(context.planned(tree))


def giving(target: Target, names: Iterable[str]) -> Target:
    """``target`` for a statement that gives the values of these columns to all rows that it writes."""
    given = frozenset(name.lower() for name in names)
    for each in target.before.fields:
        one = identity_of(each)
        if one is not None and not one.explicit and one.name.lower() in given:
            raise StatementError(
                "DELTA_IDENTITY_COLUMNS_EXPLICIT_INSERT_NOT_SUPPORTED",
                f"Providing values for GENERATED ALWAYS AS IDENTITY column {one.name} is not supported.",
                "42808",
            )
    return replace(target, given=given)


def changing(target: Target, names: Iterable[str]) -> Target:
    """``target`` for a statement that changes these columns of rows that are there."""
    changed = frozenset(name.lower() for name in names)
    for one in target.identities:
        if one.name.lower() in changed:
            raise StatementError(
                "DELTA_IDENTITY_COLUMNS_UPDATE_NOT_SUPPORTED",
                f"UPDATE on IDENTITY column {one.name} is not supported.",
                "42808",
            )
    return replace(target, given=changed | {one.name.lower() for one in target.identities})


def keeping(target: Target) -> Target:
    """``target`` for a statement that writes rows again as they are."""
    return replace(target, given=frozenset(column.name.lower() for column in target.columns))


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
    return [
        exp.column(exp.to_identifier(column.name, quoted=True))
        if column.name not in target.new
        else exp.alias_(exp.cast(exp.null(), column.storage_type, dialect="databricks"), column.name, quoted=True)
        for column in target.columns
    ]


def does_not_hold(condition: exp.Expr) -> exp.Expr:
    """The condition of the rows for which ``condition`` is not true."""
    return exp.Not(
        this=exp.Anonymous(this="coalesce", expressions=[exp.Paren(this=condition.copy()), exp.false()])
    )


def random_call(tree: exp.Expr, others: frozenset[str] = frozenset()) -> exp.Expr | None:
    """A call in the tree whose value differs from one reading to the next, or one of ``others``."""
    for call in tree.find_all(exp.Func):
        name = call.name.lower() if isinstance(call, exp.Anonymous) else call.sql_name().lower()
        if name in _RANDOM | others:
            return call
    return None


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
