"""MERGE INTO: the engine joins, each row learns which clause it falls under, and one commit has the outcome.

A row of the target that several rows of the source would change is refused, as on a warehouse, unless all that the
statement does to matched rows is to delete them. It is long because its clauses are read, ordered and turned into
that one join together: none of these steps means anything without the others.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Table, quoted
from dqctl.localworkspace.concurrency import Read
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.rules import rewrite
from dqctl.localworkspace.sql.writing_words import evolves
from dqctl.localworkspace.statements import committing, loading
from dqctl.localworkspace.statements.evolution import with_columns
from dqctl.localworkspace.statements.loading import (
    ACTION,
    AMBIGUOUS,
    DELETED,
    IGNORED,
    INSERTED,
    KEPT,
    UPDATED,
    Tally,
    Target,
)
from dqctl.localworkspace.statements.results import counts
from dqctl.localworkspace.transaction_log import Commit
from dqctl.localworkspace.types import Column, columns_from_arrow

# What the joined rows have beside the columns of both sides.
_ROW = "_dqctl_row"
_FROM_SOURCE = "_dqctl_source"
_CLAUSE = "_dqctl_clause"


@dataclass(frozen=True)
class Clause:
    """A WHEN clause. ``values`` are what it gives to the table's columns, none for DELETE."""

    kind: str
    condition: exp.Expr | None
    action: int
    values: dict[str, exp.Expr]


@dataclass(frozen=True)
class Sides:
    """The two sides of the join, as expressions name them, and what the source has."""

    target: str
    source: str
    table: Table
    columns: tuple[Column, ...]
    random: bool

    def names(self, tree: exp.Expr, default: str | None) -> exp.Expr:
        """``tree`` with the aliases that the engine sees; a bare column is of ``default``, if that is given."""
        for column in list(tree.find_all(exp.Column)):
            parts = list(column.parts)
            if _is_parameter(column):
                continue
            named = self._side(parts)
            if named is None and default is not None:
                named = (default, parts)
            if named is not None:
                alias, rest = named
                spelled = exp.Dot.build(
                    [exp.to_identifier(alias, quoted=True), *(_quoted(part.name) for part in rest)]
                )
                if column is tree:
                    return spelled
                column.replace(spelled)
        return tree

    def of_target(self, condition: exp.Expr) -> exp.Expr | None:
        """What of a condition is about the target alone: where it does not hold, no row of the source counts."""
        alone: list[exp.Expr] = []
        for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
            columns = list(part.find_all(exp.Column))
            sides = [self._side(list(column.parts)) for column in columns]
            if columns and all(
                side is not None and side[0] == self.target and len(side[1]) == 1 for side in sides
            ):
                bare = part.copy()
                for column in bare.find_all(exp.Column):
                    for qualifier in ("table", "db", "catalog"):
                        column.set(qualifier, None)
                alone.append(bare)
        return exp.and_(*alone) if alone else None

    def _side(self, parts: Sequence[exp.Expr]) -> tuple[str, Sequence[exp.Expr]] | None:
        names = [part.name.lower() for part in parts]
        full = self.table.name
        for length, spelling in ((3, [full.catalog, full.schema, full.name]), (2, [full.schema, full.name])):
            if len(names) > length and names[:length] == spelling:
                return self.target, parts[length:]
        if len(names) > 1 and names[0] in (self.target.lower(), self.source.lower()):
            return (self.target if names[0] == self.target.lower() else self.source), parts[1:]
        return None


def _quoted(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _is_parameter(column: exp.Column) -> bool:
    """Whether it is a parameter of a lambda function around it."""
    around: exp.Expr | None = column.find_ancestor(exp.Lambda)
    while around is not None:
        if column.parts[0].name in {each.name for each in around.expressions}:
            return True
        around = around.find_ancestor(exp.Lambda)
    return False


def merge(statement: exp.Merge, context: Context) -> Result:
    """MERGE INTO."""
    table = loading.table_of(statement.this, context)
    with ExitStack() as stack:
        target = stack.enter_context(loading.transaction(table, context))
        source = exp.select("*").from_(statement.args["using"].copy())
        with_ = statement.args.get("with_")
        if with_ is not None:
            source.set("with_", with_.copy())
        source_sql = loading.planned(source, context, stack)
        using = statement.args["using"]
        sides = Sides(
            statement.this.alias or table.name.name,
            using.alias_or_name or "_source",
            table,
            columns_from_arrow(context.engine.schema(source_sql)),
            random=loading.random_call(source) is not None,
        )
        if sides.target.lower() == sides.source.lower():
            sides = replace(sides, source="_source")
        if evolves(statement):
            target = with_columns(target, _new_columns(statement, sides, target))
        clauses = [
            _clause(each, sides, target, evolves(statement)) for each in statement.args["whens"].expressions
        ]
        _check_order(clauses)
        _check_identities(clauses, target)
        on = _text(sides.names(statement.args["on"].copy(), None), context)
        every = any(clause.kind == "NOT MATCHED BY SOURCE" for clause in clauses)
        own_condition = None if every else sides.of_target(statement.args["on"])
        relation, files = stack.enter_context(loading.part(target, own_condition))
        own = exp.select(*loading.outputs(target)).from_(relation)
        sql = _rows(clauses, sides, target, on, loading.planned(own, context, stack), source_sql, context)
        tally = Tally()
        try:
            added = loading.write(sql, target, context, tally)
        except Exception as error:
            raise loading.stored(error, statement) from error
        removed = [] if _only_inserts(clauses) else list(files.values())
        what = Commit(
            "MERGE",
            _parameters(statement),
            {
                "numTargetRowsInserted": tally.rows[INSERTED], "numTargetRowsUpdated": tally.rows[UPDATED],
                "numTargetRowsDeleted": tally.rows[DELETED], "numTargetRowsCopied": tally.rows[KEPT],
                "numOutputRows": loading.rows_in(added), "numTargetFilesAdded": len(added),
                "numTargetFilesRemoved": len(removed),
            },
        )  # fmt: skip
        read = Read(own_condition, files)
        committing.commit_changes(target, what, tally, context, added=added, removed=removed, read=read)
    return counts(
        {
            "num_affected_rows": tally.changed,
            "num_updated_rows": tally.rows[UPDATED],
            "num_deleted_rows": tally.rows[DELETED],
            "num_inserted_rows": tally.rows[INSERTED],
        }
    )


def _text(tree: exp.Expr, context: Context) -> str:
    if tree.find(exp.Query) is not None:
        raise StatementError(
            "DELTA_UNSUPPORTED_SUBQUERY", "Subqueries are not supported in the MERGE (condition).", "0AKDC"
        )
    return to_sql(rewrite(tree, context.namespace, ansi=context.settings.is_ansi))


def _kind(when: exp.When) -> str:
    if when.args.get("matched"):
        return "MATCHED"
    return "NOT MATCHED BY SOURCE" if when.args.get("source") else "NOT MATCHED"


def _clause(when: exp.When, sides: Sides, target: Target, evolving: bool) -> Clause:
    kind = _kind(when)
    default = {"MATCHED": None, "NOT MATCHED": sides.source}.get(kind, sides.target)
    condition = when.args.get("condition")
    if condition is not None:
        condition = sides.names(condition.copy(), default)
    then = when.args["then"]
    if isinstance(then, exp.Update):
        return Clause(kind, condition, UPDATED, _updates(then, sides, target, default, evolving))
    if isinstance(then, exp.Insert):
        return Clause(kind, condition, INSERTED, _inserts(then, sides, target, evolving))
    if str(then.name).upper() != "DELETE":
        raise errors.syntax_error(f"Syntax error at or near '{then.sql('databricks')}'.")
    return Clause(kind, condition, DELETED, {})


def _starred(star: exp.Expr, sides: Sides, target: Target, evolving: bool) -> dict[str, exp.Expr]:
    """``UPDATE SET *`` and ``INSERT *``: every column of the table from that of the source."""
    left_out = {each.name.lower() for each in star.args.get("except_") or ()}
    there = {column.name.lower(): column.name for column in sides.columns}
    values: dict[str, exp.Expr] = {}
    for column in target.columns:
        name = column.name.lower()
        if name in left_out:
            continue
        if name in there:
            values[column.name] = exp.Dot.build([_quoted(sides.source), _quoted(there[name])])
        elif not evolving and column.generated is None:
            given = ", ".join(each.name for each in sides.columns)
            raise StatementError(
                "DELTA_MERGE_UNRESOLVED_EXPRESSION",
                f"Cannot resolve {quoted(column.name)} in a clause with * given columns {given}.",
                "42601",
            )
    return values


def _updates(
    then: exp.Update, sides: Sides, target: Target, default: str | None, evolving: bool
) -> dict[str, exp.Expr]:
    assigned = then.args.get("expressions") or []
    if len(assigned) == 1 and isinstance(assigned[0], exp.Star):
        return _starred(assigned[0], sides, target, evolving)
    values: dict[str, exp.Expr] = {}
    for each in assigned:
        if not isinstance(each, exp.EQ) or not isinstance(each.left, exp.Column):
            raise errors.syntax_error(f"Syntax error at or near '{each.sql('databricks')}'.")
        name = loading.column_of(each.left, target, sides.target)
        if name in values:
            raise StatementError(
                "DELTA_CONFLICT_SET_COLUMN",
                f"There is a conflict from these SET columns: {quoted(name)}.",
                "42701",
            )
        if loading.is_default(each.right):
            values[name] = loading.expression(target.default(name))
        else:
            values[name] = sides.names(each.right.copy(), default)
    return values


def _inserts(then: exp.Insert, sides: Sides, target: Target, evolving: bool) -> dict[str, exp.Expr]:
    if isinstance(then.this, exp.Star):
        return _starred(then.this, sides, target, evolving)
    named = [loading.column_of(each, target, sides.target) for each in _columns(then.this)]
    given = then.expression.expressions if then.expression is not None else []
    if len(named) != len(given):
        raise errors.syntax_error(f"{len(named)} columns are named in a MERGE's INSERT, and {len(given)} values.")
    if len(set(named)) != len(named):
        raise StatementError(
            "DELTA_DUPLICATE_COLUMNS_ON_INSERT", "Duplicate column names in INSERT clause.", "42701"
        )
    return {
        name: loading.expression(target.default(name))
        if loading.is_default(value)
        else sides.names(value.copy(), sides.source)
        for name, value in zip(named, given, strict=True)
    }


def _columns(named: exp.Expr | None) -> list[exp.Column]:
    if named is None:
        raise errors.syntax_error("Syntax error: an INSERT of a MERGE names its columns, or takes all with *.")
    found = named.expressions if isinstance(named, exp.Tuple) else [named.unnest()]
    return [each if isinstance(each, exp.Column) else exp.column(each) for each in found]


def _new_columns(statement: exp.Merge, sides: Sides, target: Target) -> list[Column]:
    """The source's columns that the table does not have and some clause writes."""
    there = {column.name.lower() for column in target.columns}
    wanted: set[str] = set()
    for when in statement.args["whens"].expressions:
        then = when.args["then"]
        if not isinstance(then, (exp.Update, exp.Insert)):
            continue
        parts = then.expressions if isinstance(then, exp.Update) else [then.this]
        if any(isinstance(each, exp.Star) for each in parts):
            left_out = {each.name.lower() for star in parts for each in star.args.get("except_") or ()}
            wanted |= {column.name.lower() for column in sides.columns} - left_out
        elif isinstance(then, exp.Update):
            wanted |= {each.left.name.lower() for each in parts if isinstance(each, exp.EQ)}
        else:
            wanted |= {each.name.lower() for each in _columns(then.this)}
    return [each for each in sides.columns if each.name.lower() in wanted - there]


def _check_order(clauses: Sequence[Clause]) -> None:
    """Of each kind, only the last clause may be without a condition."""
    for kind in ("MATCHED", "NOT MATCHED", "NOT MATCHED BY SOURCE"):
        found = [clause for clause in clauses if clause.kind == kind]
        if any(clause.condition is None for clause in found[:-1]):
            which = f"{kind} BY TARGET" if kind == "NOT MATCHED" else kind
            raise StatementError(
                f"NON_LAST_{which.replace(' ', '_')}_CLAUSE_OMIT_CONDITION",
                f"When there are more than one {which} clauses in a MERGE statement, only the last {which} clause "
                "can omit the condition.",
                "42613",
            )


def _check_identities(clauses: Sequence[Clause], target: Target) -> None:
    for clause in clauses:
        if clause.action == INSERTED:
            loading.giving(target, clause.values)
        elif clause.action == UPDATED:
            loading.changing(target, clause.values)


def _only_inserts(clauses: Sequence[Clause]) -> bool:
    return all(clause.kind == "NOT MATCHED" for clause in clauses)


def _rows(
    clauses: Sequence[Clause], sides: Sides, target: Target, on: str, own: str, source: str, context: Context
) -> str:
    """The query of the table's next rows, each with what became of it."""

    def text(tree: exp.Expr) -> str:
        return _text(tree.copy(), context)

    def which(kind: str, otherwise: int) -> str:
        """The number of the clause that a row of this kind falls under, less one for none."""
        found = [(number, clause) for number, clause in enumerate(clauses) if clause.kind == kind]
        whens = "".join(
            f" WHEN {text(clause.condition) if clause.condition is not None else 'TRUE'} THEN {number}"
            for number, clause in found
        )
        return f"CASE{whens} ELSE {otherwise} END" if found else str(otherwise)

    t, s = quoted(sides.target), quoted(sides.source)
    if _only_inserts(clauses):
        number = which("NOT MATCHED", -2)
        values = _values(clauses, target, lambda column: loading.cast("NULL", column), number, text)
        return (
            f"SELECT {values}, {_action(clauses, number)} AS {ACTION} "  # noqa: S608 - names are quoted, trees written
            f"FROM ({source}) AS {s} LEFT ANTI JOIN ({own}) AS {t} ON {on}"
        )
    matched, alone = f"{t}.{_ROW} IS NOT NULL AND {s}.{_FROM_SOURCE}", f"{t}.{_ROW} IS NOT NULL"
    number = (
        f"CASE WHEN {matched} THEN {which('MATCHED', -1)} WHEN {alone} THEN {which('NOT MATCHED BY SOURCE', -1)} "
        f"ELSE {which('NOT MATCHED', -2)} END"
    )
    values = _values(clauses, target, lambda column: f"{t}.{quoted(column.name)}", number, text)
    target_rows = f"(SELECT *, monotonically_increasing_id() AS {_ROW} FROM ({own})) AS {t}"  # noqa: S608 - as above
    source_rows = f"(SELECT *, TRUE AS {_FROM_SOURCE} FROM ({source})) AS {s}"  # noqa: S608 - as above
    joined = (
        f"SELECT {values}, {_action(clauses, number)} AS {ACTION}, {t}.{_ROW}, "  # noqa: S608 - as above
        f"CASE WHEN {matched} THEN {number} END AS {_CLAUSE} FROM {target_rows} "
        f"{'FULL OUTER' if any(each.kind == 'NOT MATCHED' for each in clauses) else 'LEFT'} JOIN "
        f"{source_rows} ON {on}"
    )
    meets_twice = (
        f"SELECT {t}.{_ROW} FROM {target_rows} JOIN {source_rows} ON {on} "  # noqa: S608 - as above
        f"GROUP BY {t}.{_ROW} HAVING count(*) > 1 LIMIT 1"
    )
    # Rows of a random source differ from one reading to the next.
    if sides.random or context.engine.query(meets_twice).num_rows:
        return _once(joined, clauses, target)
    # The usual case, and a third of the time: nothing has to be sorted to see what belongs together.
    return f"SELECT {_names(target)}, {ACTION} FROM ({joined})"  # noqa: S608 - as above


def _names(target: Target) -> str:
    return ", ".join(quoted(column.name) for column in target.columns)


def _values(
    clauses: Sequence[Clause],
    target: Target,
    otherwise: Callable[[Column], str],
    number: str,
    text: Callable[[exp.Expr], str],
) -> str:
    selected = []
    for column in target.columns:
        whens = ""
        for index, clause in enumerate(clauses):
            if clause.action == INSERTED:
                value = text(clause.values[column.name]) if column.name in clause.values else None
                whens += f" WHEN {index} THEN {loading.cast(value or target.default(column.name), column)}"
            elif (
                clause.action == UPDATED and column.name in target.expressions and column.name not in clause.values
            ):
                whens += f" WHEN {index} THEN {loading.cast('NULL', column)}"
            elif column.name in clause.values:
                whens += f" WHEN {index} THEN {loading.cast(text(clause.values[column.name]), column)}"
        value = f"CASE {number}{whens} ELSE {otherwise(column)} END" if whens else otherwise(column)
        selected.append(f"{value} AS {quoted(column.name)}")
    return ", ".join(selected)


def _action(clauses: Sequence[Clause], number: str) -> str:
    whens = "".join(f" WHEN {index} THEN {clause.action}" for index, clause in enumerate(clauses))
    return f"CASE {number}{whens} WHEN -1 THEN {KEPT} ELSE {IGNORED} END"


def _once(joined: str, clauses: Sequence[Clause], target: Target) -> str:
    """The joined rows, each row of the target once however many of the source it met."""
    found = [clause for clause in clauses if clause.kind == "MATCHED"]
    deletes = len(found) == 1 and found[0].action == DELETED and found[0].condition is None
    several = f"CASE WHEN _dqctl_place = 1 THEN {ACTION} ELSE {IGNORED} END" if deletes else AMBIGUOUS
    return (
        f"SELECT {_names(target)}, CASE WHEN {_ROW} IS NULL THEN {ACTION} "  # noqa: S608 - names are quoted
        f"WHEN _dqctl_times > 1 THEN {several} "
        f"WHEN _dqctl_place > 1 THEN {IGNORED} ELSE {ACTION} END AS {ACTION} "
        f"FROM (SELECT *, count(CASE WHEN {_CLAUSE} >= 0 THEN 1 END) OVER (PARTITION BY {_ROW}) AS _dqctl_times, "
        f"row_number() OVER (PARTITION BY {_ROW} ORDER BY CASE WHEN {_CLAUSE} >= 0 THEN 0 ELSE 1 END) "
        "AS _dqctl_place "
        f"FROM ({joined}))"
    )


def _parameters(statement: exp.Merge) -> dict[str, object]:
    found: dict[str, list[dict[str, str]]] = {"MATCHED": [], "NOT MATCHED": [], "NOT MATCHED BY SOURCE": []}
    for when in statement.args["whens"].expressions:
        then = when.args["then"]
        what = {exp.Update: "update", exp.Insert: "insert"}.get(type(then), "delete")
        condition = when.args.get("condition")
        found[_kind(when)].append(
            ({"predicate": condition.sql("databricks")} if condition is not None else {}) | {"actionType": what}
        )
    return {
        "predicate": [statement.args["on"].sql("databricks")],
        "matchedPredicates": found["MATCHED"],
        "notMatchedPredicates": found["NOT MATCHED"],
        "notMatchedBySourcePredicates": found["NOT MATCHED BY SOURCE"],
    }
