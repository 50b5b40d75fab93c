"""Systems files against real TestGen: what is declared is there, once, and nothing else was touched."""

import pytest

from dqctl.clock import Deadline
from dqctl.errors import TestGenFailed, UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services import systems
from dqctl.services.apply import Change, apply
from dqctl.testgen.driver import ask
from target_database import PASSWORD, Target, count

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def runtime(installed_stack):
    return open_runtime(installed_stack, silent)


@pytest.fixture(scope="module")
def target(runtime):
    return Target.make(runtime)


@pytest.fixture
def applied(runtime):
    def run(file, password=PASSWORD, **options):
        return apply(
            runtime,
            file,
            access=None,
            environment={"PROBE_PASSWORD": password},
            deadline=Deadline(120),
            **options,
        )

    return run


def test_the_second_apply_changes_nothing(runtime, target, applied, tmp_path):
    file = target.write_systems(tmp_path, "twice")
    told = []
    first = applied(file, progress=told.append)
    assert first.changed
    assert {action.change for action in first.plan.changes} == {Change.CREATE}
    assert "create connection pg" in told
    with runtime.metadata() as connection:
        before = connection.execute("SELECT * FROM connections ORDER BY connection_id").fetchall()
    second = applied(file)
    assert not second.changed
    assert second.plan.changes == ()
    with runtime.metadata() as connection:
        assert connection.execute("SELECT * FROM connections ORDER BY connection_id").fetchall() == before


def test_a_dry_run_changes_nothing(runtime, target, applied, tmp_path):
    result = applied(target.write_systems(tmp_path, "dry"), dry_run=True)
    assert not result.changed
    assert len(result.plan.changes) == 4
    with pytest.raises(UsageError, match="no system dry"):
        systems.resolve_system(runtime, "dry")


def test_a_new_system_is_visible_to_testgens_administrator_and_its_secret_encrypted(
    runtime, target, applied, tmp_path
):
    applied(target.write_systems(tmp_path, "sealed"))
    with runtime.metadata() as connection:
        assert count(connection, "SELECT count(*) FROM project_memberships WHERE project_code = 'sealed'") == 1
        row = connection.execute(
            "SELECT project_pw_encrypted, connections::text FROM connections WHERE project_code = 'sealed'"
        ).fetchone()
    assert row[0]
    assert PASSWORD not in row[1]
    assert PASSWORD.encode() not in row[0]


def test_a_rotated_secret_reaches_the_stored_connection(target, applied, tmp_path):
    file = target.write_systems(tmp_path, "rotated")
    applied(file)
    (action,) = applied(file, password="rotated-password-1").plan.changes
    assert (action.change, action.name) == (Change.UPDATE, "pg")
    assert applied(file, password="rotated-password-1").plan.changes == ()
    assert applied(file).changed


def test_renames_keep_the_rows(runtime, target, applied, tmp_path):
    file = target.write_systems(tmp_path, "former")
    applied(file)
    before = systems.resolve_system(runtime, "former")
    text = (
        file.read_text()
        .replace("- name: former\n", "- name: present\n    renamed_from: former\n")
        .replace("- name: pg\n", "- name: postgres\n        renamed_from: pg\n")
        .replace("- name: former-tables\n", "- name: present-tables\n            renamed_from: former-tables\n")
        .replace("- name: former-suite\n", "- name: present-suite\n                renamed_from: former-suite\n")
    )
    file.write_text(text)
    result = applied(file)
    # The title follows the name, when the file gives none.
    assert [action.change for action in result.plan.changes] == [Change.RENAME] * 4 + [Change.UPDATE]
    after = systems.resolve_system(runtime, "present")
    assert [group.id for group in after.table_groups] == [group.id for group in before.table_groups]
    assert [suite.id for suite in after.suites] == [suite.id for suite in before.suites]
    assert after.suites[0].path == "present/present-suite"
    with runtime.metadata() as connection:
        filters = connection.execute(
            "SELECT value FROM score_definition_filters WHERE field = 'table_groups_name'"
        ).fetchall()
        assert ("present-tables",) in filters
        assert ("former-tables",) not in filters
        assert count(connection, "SELECT count(*) FROM projects WHERE project_code = 'former'") == 0
        assert count(connection, "SELECT count(*) FROM project_memberships WHERE project_code = 'present'") == 1
    assert applied(file).plan.changes == ()


def test_only_what_is_named_is_removed(runtime, target, applied, tmp_path):
    file = target.write_systems(tmp_path, "shrinking", more="              - name: extra\n")
    applied(file)
    file.write_text(file.read_text().replace("              - name: extra\n", ""))
    kept = applied(file)
    assert not kept.changed
    assert kept.plan.left_alone == ("suite shrinking/extra",)
    file.write_text(file.read_text() + "    remove: {suites: [extra]}\n")
    assert [action.change for action in applied(file).plan.changes] == [Change.REMOVE]
    assert [suite.name for suite in systems.resolve_system(runtime, "shrinking").suites] == ["shrinking-suite"]
    assert applied(file).plan.changes == ()


def test_a_removed_system_leaves_nothing(runtime, target, applied, tmp_path):
    applied(target.write_systems(tmp_path, "passing"))
    file = tmp_path / "remove.yaml"
    file.write_text("version: 1\nremove: {systems: [passing]}\n")
    assert applied(file).changed
    with runtime.metadata() as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'testgen'"
            " AND column_name = 'project_code'"
        ).fetchall()
        left = {
            table: count(connection, f"SELECT count(*) FROM {table} WHERE project_code = 'passing'")
            for (table,) in tables
        }
    assert {table: rows for table, rows in left.items() if rows} == {}


def test_a_step_that_fails_takes_the_others_with_it(runtime):
    too_long = "x" * 300
    steps = [
        {
            "change": "create",
            "kind": "system",
            "system": "half",
            "name": "half",
            "values": {"project_name": "Half"},
            "parents": {},
        },
        {
            "change": "create",
            "kind": "connection",
            "system": "half",
            "name": "pg",
            "values": {"project_host": too_long, "project_pw_encrypted": "never-to-be-seen-9"},
            "parents": {},
        },
    ]
    with pytest.raises(TestGenFailed) as raised:
        ask(runtime, [{"verb": "provision", "steps": steps}], deadline=Deadline(60))
    assert "never-to-be-seen-9" not in raised.value.message + raised.value.hint
    assert too_long not in raised.value.message
    with runtime.metadata() as connection:
        assert count(connection, "SELECT count(*) FROM projects WHERE project_code = 'half'") == 0


def test_suites_are_found_by_name_by_path_and_not_when_in_doubt(runtime, target, applied, tmp_path):
    for name in ("left", "right"):
        file = target.write_systems(tmp_path, name)
        file.write_text(file.read_text().replace(f"- name: {name}-suite", "- name: common"))
        applied(file)
    assert [s.path for s in systems.resolve_suites(runtime, ["left/common", "left/common"])] == ["left/common"]
    with pytest.raises(UsageError, match="several systems") as raised:
        systems.resolve_suites(runtime, ["common"])
    assert raised.value.hint == "say which: left/common, right/common"
    with pytest.raises(UsageError, match=r"no suite comon; did you mean common\?"):
        systems.resolve_suites(runtime, ["comon"])
    assert {"left/common", "right/common"} <= {s.path for s in systems.resolve_suites(runtime, everything=True)}


def test_testgens_own_empty_project_is_no_system(runtime):
    assert "DEFAULT" not in [system.name for system in systems.list_systems(runtime)]
