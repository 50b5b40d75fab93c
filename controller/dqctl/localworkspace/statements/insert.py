"""INSERT INTO, INSERT OVERWRITE, and INSERT ... REPLACE WHERE and REPLACE USING: one commit each."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from sqlglot import exp

from dqctl.localworkspace import errors, transaction_log
from dqctl.localworkspace.catalog import quoted
from dqctl.localworkspace.concurrency import Read
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.replace_on import ReplaceOn, replaces_on
from dqctl.localworkspace.sql.writing_words import evolves
from dqctl.localworkspace.statements import committing, loading
from dqctl.localworkspace.statements.evolution import with_columns
from dqctl.localworkspace.statements.loading import ACTION, INSERTED, KEPT, MISPLACED, Tally, Target
from dqctl.localworkspace.statements.results import counts
from dqctl.localworkspace.types import Column, columns_from_arrow

_SOURCE = "_source"
# The type of a column that nobody asked the engine about: it is cast whatever it is.
_UNKNOWN = ""
_NESTED = frozenset({"array", "struct", "named_struct", "map", "map_from_arrays", "split"})
_MANY_ROWS = 200


@dataclass(frozen=True)
class Source:
    """The rows to insert, as the engine is asked for them. ``given`` says which column of the table each is."""

    sql: str
    found: tuple[Column, ...]
    given: tuple[str, ...]
    # Columns that are DEFAULT in every row.
    left: frozenset[str] = frozenset()


def insert(statement: exp.Insert, context: Context) -> Result:
    """INSERT."""
    relation = statement.this.this if isinstance(statement.this, exp.Schema) else statement.this
    table = loading.table_of(relation, context)
    with ExitStack() as stack:
        target = stack.enter_context(loading.transaction(table, context))
        fixed = _partition(relation, target)
        source = _source(statement, target, list(fixed), context, stack)
        if evolves(statement):
            new = _new_columns(source, target)
            target = with_columns(target, new)
        _check_given(source, target)
        target = loading.giving(target, _said(source, fixed))
        rows = aligned(source, target, fixed)
        try:
            if clause := replaces_on(statement):
                inserted = _replace_on(*clause, source, rows, target, context, stack)
            else:
                inserted = _write(statement, rows, fixed, target, context, stack)
        except Exception as error:
            raise loading.stored(error, statement) from error
    return counts({"num_affected_rows": inserted, "num_inserted_rows": inserted})


def _write(
    statement: exp.Insert,
    rows: str,
    fixed: dict[str, exp.Expr],
    target: Target,
    context: Context,
    stack: ExitStack,
) -> int:
    condition = statement.args.get("where")
    using = statement.args.get("using")
    if statement.args.get("overwrite") and fixed:
        condition = exp.and_(*(exp.column(name, quoted=True).eq(value) for name, value in fixed.items()))
    if condition is None and not using:
        overwrite = bool(statement.args.get("overwrite"))
        added = loading.write(rows, target, context)
        removed = list(target.before.files.values()) if overwrite else []
        what = written("Overwrite" if overwrite else "Append", target, added, blind=not overwrite)
        read = Read() if overwrite else None
        committing.commit(
            target, what, context, added=added, removed=removed, read=read, inserted=loading.rows_in(added)
        )
        return loading.rows_in(added)
    condition = condition.unnest() if condition is not None else None
    if condition is not None:
        _check_condition(condition, target)
    relation, files = stack.enter_context(loading.part(target, condition))
    kept = loading.planned(exp.select(*loading.outputs(target)).from_(relation), context, stack)
    tally = Tally()
    if condition is not None:
        holds = f"coalesce(({to_sql(condition.copy())}), FALSE)"
        mixed = (
            f"SELECT *, {KEPT} AS {ACTION} FROM ({kept}) AS t WHERE NOT {holds} UNION ALL "  # noqa: S608 - trees
            f"SELECT *, CASE WHEN {holds} THEN {INSERTED} ELSE {MISPLACED} END AS {ACTION} FROM ({rows}) AS s"
        )
    else:
        names = [quoted(loading.known(each.name, target)) for each in using or ()]
        on = " AND ".join(f"t.{name} = s.{name}" for name in names)
        mixed = (
            f"SELECT t.*, {KEPT} AS {ACTION} FROM ({kept}) AS t LEFT ANTI JOIN "  # noqa: S608 - trees
            f"({rows}) AS s ON {on} UNION ALL "
            f"SELECT *, {INSERTED} AS {ACTION} FROM ({rows}) AS s"
        )
    return _exchange(mixed, tally, target, condition, Read(condition, files), context)


def _replace_on(
    clause: ReplaceOn,
    condition: exp.Expr,
    source: Source,
    rows: str,
    target: Target,
    context: Context,
    stack: ExitStack,
) -> int:
    """Rows of the table for which a row of the source fulfils the condition go, the source's come."""
    if condition.find(exp.Query) is not None:
        raise errors.unsupported("REPLACE ON with a subquery")
    relation, files = stack.enter_context(loading.part(target, None))
    kept = loading.planned(exp.select(*loading.outputs(target)).from_(relation), context, stack)
    ours, theirs = (quoted(alias) for alias in (clause.target or target.table.name.name, clause.source or _SOURCE))
    mixed = (
        f"SELECT {ours}.*, {KEPT} AS {ACTION} FROM ({kept}) AS {ours}"  # noqa: S608 - quoted names
        f" LEFT ANTI JOIN ({source.sql}) AS {theirs} ON {to_sql(condition.copy())} UNION ALL "
        f"SELECT *, {INSERTED} AS {ACTION} FROM ({rows}) AS s"
    )
    return _exchange(mixed, Tally(), target, condition, Read(None, files), context)


def _exchange(
    mixed: str, tally: Tally, target: Target, condition: exp.Expr | None, read: Read, context: Context
) -> int:
    """Commit the rows of ``mixed`` in place of the files that were read; how many of them are new."""
    added = loading.write(mixed, target, context, tally)
    what = written("Overwrite", target, added, condition=condition)
    committing.commit(
        target,
        what,
        context,
        added=added,
        removed=list(read.files.values()),
        read=read,
        inserted=tally.rows[INSERTED],
    )
    return tally.rows[INSERTED]


def written(
    mode: str,
    target: Target,
    added: Sequence[transaction_log.Action],
    *,
    blind: bool = False,
    condition: exp.Expr | None = None,
) -> transaction_log.Commit:
    """A commit that writes rows, as the history shows it."""
    return transaction_log.Commit(
        "WRITE",
        {"mode": mode, "statsOnLoad": "false", "partitionBy": target.before.partition_columns}
        | ({"predicate": condition.sql("databricks")} if condition is not None else {}),
        {
            "numFiles": len(added),
            "numOutputRows": loading.rows_in(added),
            "numOutputBytes": sum(int(each["size"]) for each in added),
        },
        blind=blind,
    )


def _check_condition(condition: exp.Expr, target: Target) -> None:
    if condition.find(exp.Query) is not None:
        raise errors.unsupported("REPLACE WHERE with a subquery")
    for column in condition.find_all(exp.Column):
        loading.known(column.parts[0].name if len(column.parts) == 1 else column.name, target)
        for qualifier in ("table", "db", "catalog"):
            column.set(qualifier, None)


def _partition(relation: exp.Table, target: Target) -> dict[str, exp.Expr]:
    """The values of ``PARTITION (a = 1, b)``; a column without a value comes with the rows."""
    clause = relation.args.get("partition")
    found: dict[str, exp.Expr] = {}
    for each in clause.expressions if clause else ():
        column = each.left if isinstance(each, exp.EQ) else each
        if column.name.lower() not in {name.lower() for name in target.before.partition_columns}:
            raise StatementError(
                "NON_PARTITION_COLUMN",
                f"PARTITION clause cannot contain the non-partition column: {quoted(column.name)}.",
                "42000",
            )
        if isinstance(each, exp.EQ):
            found[loading.known(column.name, target)] = each.right
    return found


def _source(
    statement: exp.Insert, target: Target, fixed: Sequence[str], context: Context, stack: ExitStack
) -> Source:
    named = [each.name for each in statement.this.expressions] if isinstance(statement.this, exp.Schema) else []
    order = named or [column.name for column in target.columns if column.name not in fixed]
    left = _left_to_defaults(statement, order)
    query = _query_of(statement, order, target)
    width = _width_of_values(statement.expression)
    sql = loading.planned(query, context, stack)
    if width:
        found: tuple[Column, ...] = tuple(Column(f"col{index + 1}", _UNKNOWN) for index in range(width))
    else:
        found = columns_from_arrow(context.engine.schema(sql))
    given = tuple(column.name for column in found) if statement.args.get("by_name") else tuple(order)
    return Source(sql, found, given, left)


def _left_to_defaults(statement: exp.Insert, order: Sequence[str]) -> frozenset[str]:
    if statement.args.get("default"):
        return frozenset(name.lower() for name in order)
    values = statement.expression
    if not isinstance(values, exp.Values):
        return frozenset()
    rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in values.expressions]
    return frozenset(
        name.lower()
        for index, name in enumerate(order)
        if all(index < len(cells) and loading.is_default(cells[index]) for cells in rows)
    )


def _said(source: Source, fixed: Mapping[str, exp.Expr]) -> list[str]:
    """The columns whose values are in the statement."""
    names = [*source.given, *(each.name for each in source.found[len(source.given) :]), *fixed]
    return [name for name in names if name.lower() not in source.left]


def _query_of(statement: exp.Insert, order: Sequence[str], target: Target) -> exp.Expr:
    """The rows to insert, with the WITH that stood before INSERT."""
    source = statement.args.get("source")
    if statement.args.get("default"):
        row = exp.Tuple(expressions=[loading.expression(target.default(name)) for name in order])
        query: exp.Expr = exp.select("*").from_(exp.Values(expressions=[row]))
    elif source:
        query = exp.select("*").from_(source.copy())
    elif isinstance(statement.expression, exp.Values):
        _put_defaults(statement.expression, order, target)
        query = _selected(statement.expression) or exp.select("*").from_(statement.expression)
    else:
        query = statement.expression
    with_ = statement.args.get("with_")
    if with_ is not None and not query.args.get("with_"):
        query.set("with_", with_.pop())
    return query


def _selected(values: exp.Values) -> exp.Expr | None:
    """VALUES with arrays and structs in them as SELECTs: Sail 0.7.2 finds another type for each row of VALUES."""
    calls = {call.name.lower() for call in values.find_all(exp.Anonymous)} | {
        type(call).__name__.lower() for call in values.find_all(exp.Struct, exp.Array)
    }
    if calls.isdisjoint(_NESTED) or len(values.expressions) > _MANY_ROWS:
        return None
    rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in values.expressions]
    query: exp.Expr = exp.select(*(cell.copy() for cell in rows[0]))
    for row in rows[1:]:
        query = exp.union(query, exp.select(*(cell.copy() for cell in row)), distinct=False, copy=False)
    return query


def _put_defaults(values: exp.Values, order: Sequence[str], target: Target) -> None:
    for row in values.expressions:
        cells = row.expressions if isinstance(row, exp.Tuple) else [row]
        for index, cell in enumerate(cells):
            if loading.is_default(cell) and index < len(order):
                cell.replace(loading.expression(target.default(order[index])))


def _width_of_values(source: exp.Expr | None) -> int:
    """How many columns the rows of VALUES have; 0 for another source. It spares the engine a second reading."""
    rows = source.expressions if isinstance(source, exp.Values) else []
    widths = {len(row.expressions) if isinstance(row, exp.Tuple) else 1 for row in rows}
    return widths.pop() if len(widths) == 1 else 0


def _new_columns(source: Source, target: Target) -> list[Column]:
    """The source's columns that the table does not have: those behind its last one, or of other names."""
    there = {column.name.lower() for column in target.columns}
    late = source.found[len(source.given) :] if len(source.given) < len(source.found) else source.found
    return [each for each in late if each.name.lower() not in there and each.type != _UNKNOWN]


def _check_given(source: Source, target: Target) -> None:
    lowered = [name.lower() for name in source.given]
    for name in lowered:
        loading.known(name, target)
        if lowered.count(name) > 1:
            raise StatementError("COLUMN_ALREADY_EXISTS", f"The column {quoted(name)} already exists.", "42711")
    extra = [each.name.lower() for each in source.found[len(lowered) :]]
    if len(source.found) < len(lowered) or any(
        name not in {c.name.lower() for c in target.columns} for name in extra
    ):
        raise _arity(source, target)
    if extra and not set(extra).isdisjoint(lowered):
        raise _arity(source, target)


def _arity(source: Source, target: Target) -> StatementError:
    few = len(source.found) < len(source.given)
    return StatementError(
        f"INSERT_COLUMN_ARITY_MISMATCH.{'NOT_ENOUGH' if few else 'TOO_MANY'}_DATA_COLUMNS",
        f"Cannot write to {target.table.name}, the reason is that {len(source.given)} columns are wanted and the "
        f"data has {len(source.found)}.",
        "21S01",
    )


def aligned(source: Source, target: Target, fixed: dict[str, exp.Expr] | None = None) -> str:
    """The source's columns in the table's order and types; those that it lacks are the table's defaults."""
    names = [*source.given, *(each.name for each in source.found[len(source.given) :])]
    order = {name.lower(): index for index, name in enumerate(names)}
    selected = []
    for column in target.columns:
        index = order.get(column.name.lower())
        if index is not None:
            value = loading.cast(f"`_{index}`", column, source.found[index].type)
        elif fixed and column.name in fixed:
            value = loading.cast(to_sql(fixed[column.name].copy()), column)
        else:
            value = loading.cast(target.default(column.name), column)
        selected.append(f"{value} AS {quoted(column.name)}")
    aliases = ", ".join(f"`_{index}`" for index in range(len(source.found)))
    # Every identifier is quoted here, and the query was written from its tree.
    return f"SELECT {', '.join(selected)} FROM ({source.sql}) AS `{_SOURCE}`({aliases})"  # noqa: S608 - quoted names
