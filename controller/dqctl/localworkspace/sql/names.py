"""Names in a statement: which of them are relations, and their full form."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Name

# ``parquet.`/path` ``: a relation named by a file format and a path.
PATH_FORMATS = frozenset({"delta", "parquet", "csv", "json", "text"})


@dataclass
class Namespace:
    """Where a session stands: the catalog and schema of names that leave them out."""

    catalog: str
    schema: str

    def full(self, parts: Sequence[str]) -> Name:
        """The full name from one to three parts."""
        if not 1 <= len(parts) <= 3:
            raise errors.syntax_error(f"{'.'.join(parts)} is not a name of at most three parts.")
        catalog, schema, name = (self.catalog, self.schema, *parts)[-3:] if len(parts) < 3 else parts
        if len(parts) == 2:
            catalog, schema, name = self.catalog, parts[0], parts[1]
        return Name(catalog.lower(), schema.lower(), name.lower())

    def schema_of(self, parts: Sequence[str]) -> tuple[str, str]:
        """Catalog and schema from no, one or two parts."""
        if not parts:
            return self.catalog, self.schema
        if len(parts) > 2:
            raise errors.syntax_error(f"{'.'.join(parts)} is not the name of a schema.")
        return (parts[0].lower() if len(parts) == 2 else self.catalog), parts[-1].lower()


def parts_of(table: exp.Table) -> tuple[str, ...]:
    """The parts of a relation's name."""
    return tuple(part.name for part in table.parts)


def named_relations(tree: exp.Expr) -> Iterator[exp.Table]:
    """The tables and views that ``tree`` names: no functions, no common table expressions, no paths."""
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier):
            continue
        if not table.db and _is_common_table_expression(table):
            continue
        yield table


def is_path(table: exp.Table) -> bool:
    """Whether the relation is named by a path."""
    return bool(table.db) and not table.catalog and table.db.lower() in PATH_FORMATS


def is_information_schema(table: exp.Table) -> bool:
    """Whether the relation is one of information_schema's."""
    return table.db.lower() == INFORMATION_SCHEMA


def _is_common_table_expression(table: exp.Table) -> bool:
    """Whether a WITH around the table defines its name, as far as that definition is visible there."""
    name = table.name.lower()
    inside: exp.Expr = table
    above = table.parent
    while above is not None:
        with_ = above.args.get("with_")
        if with_ is not None and with_ is not inside:
            if any(cte.alias.lower() == name for cte in with_.expressions):
                return True
        elif isinstance(above, exp.With):
            # Inside a definition, those before it are visible, and itself when the WITH is recursive.
            for cte in above.expressions:
                if cte is inside:
                    if above.args.get("recursive") and cte.alias.lower() == name:
                        return True
                    break
                if cte.alias.lower() == name:
                    return True
        inside, above = above, above.parent
    return False


def qualify(tree: exp.Expr, namespace: Namespace, keep: Container[str] = ()) -> exp.Expr:
    """Give every relation its full name: a view must mean the same wherever it is read from.

    ``keep`` are the temporary views of the session, which have no other name than their own.
    """
    for table in named_relations(tree):
        if is_path(table) or (not table.db and table.name.lower() in keep):
            continue
        name = namespace.full(parts_of(table))
        table.set("this", exp.to_identifier(table.name, quoted=True))
        table.set("db", exp.to_identifier(name.schema, quoted=True))
        table.set("catalog", exp.to_identifier(name.catalog, quoted=True))
    return tree
