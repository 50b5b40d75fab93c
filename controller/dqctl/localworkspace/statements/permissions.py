"""GRANT, REVOKE and SHOW GRANTS: kept and shown. A local workspace has one user, for whom nothing is refused."""

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Grant
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.sql import grants
from dqctl.localworkspace.sql.inspection import Show
from dqctl.localworkspace.statements.results import nothing, strings


def permit(command: grants.Permit, context: Context) -> Result:
    """GRANT and REVOKE."""
    name = full_name(command.kind, command.parts, context)
    changed = {Grant(command.principal, one, command.kind, name) for one in command.privileges}

    def change(now: list[Grant]) -> list[Grant]:
        if not command.revoke:
            return now + sorted((one for one in changed if one not in now), key=lambda one: one.privilege)
        gone = {
            one for one in now
            if one in changed
            or ("ALL PRIVILEGES" in command.privileges
                and (one.principal, one.kind, one.name) == (command.principal, command.kind, name))
        }  # fmt: skip
        return [one for one in now if one not in gone]

    context.catalog.set_grants(change)
    return nothing()


def show_grants(command: Show, context: Context) -> Result:
    """SHOW GRANTS: those on a thing, and those on what it is in, which it inherits."""
    name = full_name(command.kind, command.parts, context)
    found = [
        (one.principal, one.privilege, one.kind, ".".join(one.name))
        for one in context.catalog.grants()
        if name[: len(one.name)] == one.name
        and (len(one.name) < len(name) or one.kind == command.kind)
        and command.principal in (None, one.principal)
    ]
    return strings(("Principal", "ActionType", "ObjectType", "ObjectKey"), sorted(found))


def full_name(kind: str, parts: tuple[str, ...], context: Context) -> tuple[str, ...]:
    """The name of what a grant is on; ``StatementError`` when it is not there."""
    catalog = context.catalog
    if kind == "CATALOG":
        catalog.schemas(parts[-1])
        return (parts[-1].lower(),)
    if kind == "SCHEMA":
        place = context.namespace.schema_of(parts)
        catalog.schema(*place)
        return place
    name = context.namespace.full(parts)
    if kind == "VOLUME":
        catalog.volume(name)
    elif kind == "FUNCTION":
        if catalog.function(name) is None:
            raise errors.function_not_found(str(name))
    else:
        catalog.table(name)
    return (name.catalog, name.schema, name.name)
