"""``IDENTIFIER('name')``: a name from a text, which is mostly a parameter."""

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.tokens import Reader, tokenize


def resolve(tree: exp.Expr) -> exp.Expr:
    """``tree`` with the names that such clauses mean, in place; parameters are literals in it already."""
    for schema in list(tree.find_all(exp.Schema)):
        # ``INSERT INTO IDENTIFIER('t')`` is read as a table of that name and a list of columns.
        if isinstance(schema.this, exp.Table) and _is_word(schema.this) and len(schema.expressions) == 1:
            schema.replace(_table(_text(schema.expressions[0]), schema.this))
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name.upper() != "IDENTIFIER" or len(call.expressions) != 1:
            continue
        parts = _parts(_text(call.expressions[0]))
        if isinstance(call.parent, exp.Table):
            call.parent.replace(_table(_text(call.expressions[0]), call.parent))
        else:
            call.replace(exp.Dot.build(parts) if len(parts) > 1 else exp.Column(this=parts[0]))
    return tree


def _is_word(table: exp.Table) -> bool:
    return table.name.upper() == "IDENTIFIER" and not table.this.args.get("quoted") and not table.db


def _text(value: exp.Expr) -> str:
    value = value.unnest()
    if isinstance(value, exp.Literal) and value.is_string:
        return value.name
    if isinstance(value, exp.DPipe):
        return _text(value.left) + _text(value.right)
    raise errors.unsupported(f"IDENTIFIER of {value.sql('databricks')}, which is no text,")


def _parts(text: str) -> list[exp.Expr]:
    reader = Reader(tokenize(text))
    found: list[exp.Expr] = [exp.to_identifier(part, quoted=True) for part in reader.name()]
    reader.end()
    return found


def _table(text: str, old: exp.Table) -> exp.Table:
    parts = _parts(text)
    kept = {key: value for key, value in old.args.items() if key not in ("this", "db", "catalog")}
    names = dict(zip(("this", "db", "catalog"), reversed(parts), strict=False))
    return exp.Table(**names, **kept)
