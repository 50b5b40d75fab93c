"""How deep a statement nests, before anything walks it by recursion that cannot bear it."""

from sqlglot import exp

from dqctl.localworkspace import errors

# Nodes of a tree from its root to a leaf: what the embedded engine bears, with the stack that it is given.
MAX_DEPTH = 1500
# Types in types: each level is written and read once more for all above it.
MAX_TYPE_DEPTH = 100


def kinds_in(tree: exp.Expr, most: int = MAX_DEPTH) -> set[type[exp.Expr]]:
    """The kinds of nodes in ``tree``; ``StatementError`` when it is deeper than ``most``."""
    kinds: set[type[exp.Expr]] = set()
    depth, level = 0, [tree]
    while level:
        if depth > most:
            raise errors.too_complex()
        kinds.update(map(type, level))
        depth, level = depth + 1, [child for node in level for child in node.iter_expressions()]
    return kinds
