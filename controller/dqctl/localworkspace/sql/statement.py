"""One statement of a client: a command that the catalog answers, or a tree for the engine."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError
from sqlglot.tokenizer_core import Token, TokenType

from dqctl.localworkspace import errors
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql.commands import Explain, read_command
from dqctl.localworkspace.sql.dialect import Warehouse
from dqctl.localworkspace.sql.maintenance import read_maintenance
from dqctl.localworkspace.sql.recursion_words import bounded, without_levels
from dqctl.localworkspace.sql.replace_on import replacing, without_replace_on
from dqctl.localworkspace.sql.tokens import Reader, tokenize
from dqctl.localworkspace.sql.writing_words import evolving, without_evolution

# What a tree can be; anything else is an expression that stands where a statement should.
_STATEMENTS = (
    exp.Query, exp.Values, exp.DML, exp.DDL, exp.Alter, exp.Copy, exp.Merge, exp.Command, exp.Drop, exp.Set,
    exp.Use, exp.Transaction, exp.Commit, exp.Rollback,
)  # fmt: skip

# Clauses of DML that the parser knows from other databases. Nobody here would carry them out.
_FOREIGN = {
    "returning": "RETURNING", "conflict": "ON CONFLICT", "ignore": "IGNORE", "limit": "LIMIT", "order": "ORDER BY",
}  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """A query whose plan is asked for."""

    query: exp.Expr


def parse(statement: str) -> object:
    """A dataclass of ``commands``, or the tree; ``StatementError`` for what is neither."""
    try:
        return _parse(statement)
    except StatementError as error:
        raise error.quoting(statement) from error.__cause__


def _parse(statement: str) -> object:
    tokens = tokenize(statement)
    if tokens[0].token_type == TokenType.TABLE:
        return parse_tree(f"FROM {statement[tokens[0].end + 1 :]}")
    command = read_maintenance(Reader(tokens, statement)) or read_command(Reader(tokens, statement))
    if isinstance(command, Explain):
        return Explanation(parse_tree(statement[command.start :]))
    if command is not None:
        return command
    tokens, evolves = without_evolution(tokens)
    tokens, level = without_levels(tokens) if "recursion" in statement.lower() else (tokens, None)
    tokens, clause = without_replace_on(statement, tokens)
    tree = parse_tree(statement, tokens)
    if clause is not None:
        tree = replacing(tree, clause, parse_tree(f"SELECT ({clause.text})").expressions[0])
    if level is not None:
        tree = bounded(tree, level)
    return evolving(tree) if evolves else tree


def parse_tree(statement: str, tokens: Sequence[Token] | None = None) -> exp.Expr:
    """The tree of a query, of DML, or of CREATE and ALTER."""
    try:
        parser = Warehouse().parser(error_level=ErrorLevel.IMMEDIATE)
        trees = parser.parse(list(tokens or tokenize(statement)), statement)
    except ParseError as error:
        detail = error.errors[0] if error.errors else {}
        description = str(detail.get("description") or error)
        if "SENTINEL" in description:  # the parser's own mark of the end
            raise errors.syntax_error("Syntax error at or near end of input.") from error
        near = f" at or near '{detail.get('highlight')}'" if detail.get("highlight") else ""
        where = f" (line {detail.get('line')}, position {detail.get('col')})" if detail.get("line") else ""
        raise errors.syntax_error(f"Syntax error{near}{where}: {description}") from error
    tree = trees[0]
    if tree is not None and "/*+" in statement:  # hints, whose tables are aliases
        for hint in list(tree.find_all(exp.Hint)):
            hint.pop()
    if tree is None:
        raise errors.syntax_error("Syntax error, unexpected empty statement.")
    if not isinstance(tree, _STATEMENTS):
        raise errors.syntax_error(f"Syntax error at or near '{statement.split()[0]}'.")
    if isinstance(tree, exp.Command):
        raise errors.unsupported(f"The statement {str(tree.this).upper()} in this form")
    if isinstance(tree, exp.DML) and (foreign := next(filter(tree.args.get, _FOREIGN), None)):
        raise errors.syntax_error(f"Syntax error at or near '{_FOREIGN[foreign]}'.")
    return tree
