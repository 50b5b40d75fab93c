# mypy: disable-error-code="import-not-found"
"""Creating, changing, renaming and removing what TestGen checks, through TestGen's own models.

All steps of a request are one transaction: a step that fails takes the others with it. A step names the
``kind``, the project's code, the ``name`` and what to do; ``values`` are columns of the table in plain text
(the models encrypt), ``parents`` the names of what it hangs below.
"""

# ruff: noqa: S608 - SQL text out of names that TestGen's own catalogue has; values are parameters

from typing import Any

from sqlalchemy import inspect, select, text, update
from testgen.common.models import database_session, get_current_session
from testgen.common.models.connection import Connection
from testgen.common.models.project import Project
from testgen.common.models.project_membership import ProjectMembership
from testgen.common.models.table_group import TableGroup
from testgen.common.models.test_suite import TestSuite
from testgen.common.models.user import User

# Kind: its model, the column of its name, the key that TestGen's cascade_delete takes.
KINDS = {
    "system": (Project, Project.project_code, Project.project_code),
    "connection": (Connection, Connection.connection_name, Connection.connection_id),
    "table_group": (TableGroup, TableGroup.table_groups_name, TableGroup.id),
    "suite": (TestSuite, TestSuite.test_suite, TestSuite.id),
}


def serve(request: dict[str, Any], say: Any) -> dict[str, Any]:
    """Carry out ``steps`` in their order; ``{"done": number of steps}``."""
    with database_session():
        for step in request["steps"]:
            say("step", **{k: step[k] for k in ("change", "kind", "system", "name")})
            CHANGES[step["change"]](step)
    return {"done": len(request["steps"])}


def create(step: dict[str, Any]) -> None:
    """A new row, below its parents."""
    model, name_column, _ = KINDS[step["kind"]]
    values = {**step["values"], name_column.key: step["name"], "project_code": step["system"]}
    parents = step["parents"]
    if step["kind"] == "table_group":
        values["connection_id"] = found("connection", step["system"], parents["connection"]).connection_id
    elif step["kind"] == "suite":
        group = found("table_group", step["system"], parents["table_group"])
        values |= {"table_groups_id": group.id, "connection_id": group.connection_id}
    entity = model(**values)
    if step["kind"] == "table_group":
        # As TestGen's own table group page does: the group gets its scorecard.
        entity.save(add_scorecard_definition=True)
    else:
        entity.save()
    if step["kind"] == "system":
        let_users_in(step["system"])


def change(step: dict[str, Any]) -> None:
    """New values in the columns that differ; the others are left alone."""
    model, name_column, _ = KINDS[step["kind"]]
    condition = (name_column == step["name"], model.project_code == step["system"])
    only_one(step, get_current_session().execute(update(model).where(*condition).values(**step["values"])))


def rename(step: dict[str, Any]) -> None:
    """Another name for the same row, its history included."""
    if step["kind"] == "system":
        rename_project(step["renamed_from"], step["name"])
        return
    model, name_column, _ = KINDS[step["kind"]]
    condition = (name_column == step["renamed_from"], model.project_code == step["system"])
    statement = update(model).where(*condition).values({name_column.key: step["name"]})
    only_one(step, get_current_session().execute(statement))
    if step["kind"] == "table_group":
        # Scorecards find their table groups by name.
        get_current_session().execute(
            text(
                "UPDATE score_definition_filters f SET value = :new FROM score_definition_criteria c "
                "JOIN score_definitions d ON d.id = c.definition_id WHERE c.id = f.criteria_id "
                "AND d.project_code = :code AND f.field = 'table_groups_name' AND f.value = :old"
            ),
            {"new": step["name"], "old": step["renamed_from"], "code": step["system"]},
        )


def remove(step: dict[str, Any]) -> None:
    """The row and all that hangs below it, as TestGen itself deletes it."""
    model, name_column, key_column = KINDS[step["kind"]]
    session = get_current_session()
    condition = (name_column == step["name"], model.project_code == step["system"])
    keys = list(session.scalars(select(key_column).where(*condition)))
    model.cascade_delete(keys)
    if step["kind"] == "system":
        # No foreign key: these would be left behind, and reappear in a system of the same code.
        for table in ("job_executions", "job_schedules"):
            session.execute(text(f"DELETE FROM {table} WHERE project_code = :code"), {"code": step["name"]})


CHANGES = {"create": create, "update": change, "rename": rename, "remove": remove}


def found(kind: str, system: str, name: str) -> Any:
    """The one row of ``kind`` called ``name``."""
    model, name_column, _ = KINDS[kind]
    statement = select(model).where(name_column == name, model.project_code == system)
    rows = get_current_session().scalars(statement).all()
    if len(rows) != 1:
        raise LookupError(f"{len(rows)} rows of kind {kind} are called {name} in {system}, where one was expected")
    return rows[0]


def only_one(step: dict[str, Any], result: Any) -> None:
    """Refuse a change that hit nothing, or more than what it was made for."""
    if result.rowcount != 1:
        raise LookupError(f"{step['change']} of {step['kind']} {step['name']} met {result.rowcount} rows, not one")


def let_users_in(code: str) -> None:
    """TestGen's UI shows a project to its members only: make the administrators, or else everybody, members."""
    session = get_current_session()
    users = session.scalars(select(User)).all()
    admins = [user for user in users if getattr(user, "is_global_admin", False)] or users
    for user in admins:
        if ProjectMembership.get_by_user_and_project(user.id, code) is None:
            ProjectMembership(user_id=user.id, project_code=code, role="admin").save()


def rename_project(old: str, new: str) -> None:
    """Another code for a project. It is the key that everything refers to: a copy takes over, the old one goes."""
    session = get_current_session()
    columns = [c.name for c in inspect(Project).columns if c.name not in ("id", "project_code")]
    listed = ", ".join(columns)
    parameters = {"old": old, "new": new}
    # id has no key on it, and stays the same through the rename.
    session.execute(
        text(
            f"INSERT INTO projects (id, project_code, {listed}) "
            f"SELECT id, :new, {listed} FROM projects WHERE project_code = :old"
        ),
        parameters,
    )
    tables = session.scalars(
        text(
            "SELECT table_name FROM information_schema.columns JOIN information_schema.tables "
            "USING (table_schema, table_name) WHERE table_schema = current_schema() "
            "AND column_name = 'project_code' AND table_type = 'BASE TABLE' AND table_name <> 'projects'"
        )
    ).all()
    for table in tables:
        session.execute(text(f"UPDATE {table} SET project_code = :new WHERE project_code = :old"), parameters)
    # A score refresh that is still queued names the project in its arguments too.
    session.execute(
        text(
            "UPDATE job_executions SET kwargs = jsonb_set(kwargs, '{project_code}', to_jsonb(CAST(:new AS text))) "
            "WHERE kwargs ->> 'project_code' = :old"
        ),
        parameters,
    )
    session.execute(text("DELETE FROM projects WHERE project_code = :old"), parameters)
