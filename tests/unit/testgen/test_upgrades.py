"""What an upgrade changed, out of two pictures of the metadata."""

from dataclasses import replace

from dqctl.testgen.upgrades import Picture, compare

OLD = Picture(
    revision=187,
    columns={
        "test_runs": {"id": "uuid", "job_execution_id": "uuid", "status": "varchar"},
        "test_results": {"id": "uuid"},
        "test_types": {"test_type": "varchar"},
        "functional_test_results": {"id": "uuid"},
    },
    rows={"test_runs": 3, "test_results": 30, "test_types": 80, "functional_test_results": 0},
    test_types=frozenset({"Recency", "Gone"}),
    own_run_ids={"test_runs": 3},
    jobs="3:17",
)
NEW = replace(
    OLD,
    revision=235,
    columns={
        "test_runs": {"id": "uuid", "version_id": "uuid"},
        "test_results": {"id": "text"},
        "test_types": {"test_type": "varchar"},
        "suite_versions": {"id": "uuid"},
    },
    rows={"test_runs": 3, "test_results": 29, "test_types": 89, "suite_versions": 1},
    test_types=frozenset({"Recency", "Brand_New"}),
    own_run_ids={},
)


def test_columns_tables_and_test_types_that_come_and_go_are_told() -> None:
    found = compare(OLD, NEW)
    assert (found.tables_added, found.tables_dropped) == (("suite_versions",), ("functional_test_results",))
    assert found.columns_added == ("test_runs.version_id",)
    assert found.columns_dropped == ("test_runs.job_execution_id", "test_runs.status")
    assert found.columns_retyped == ("test_results.id: uuid -> text",)
    assert (found.test_types_added, found.test_types_removed) == (("Brand_New",), ("Gone",))


def test_a_column_that_moved_says_where_its_content_is_now() -> None:
    assert compare(OLD, NEW).moved == {
        "test_runs.job_execution_id": "test_runs.id",
        "test_runs.status": "job_executions.status",
    }


def test_rows_that_a_script_on_the_way_removes_are_explained() -> None:
    found = compare(OLD, NEW)
    assert {each.table: each.why is not None for each in found.rows_changed} == {
        "test_results": True,
        "test_types": True,
        "suite_versions": True,
    }
    assert found.unexplained == ()


def test_the_same_rows_are_not_explained_when_that_script_ran_before() -> None:
    found = compare(replace(OLD, revision=213), NEW)
    assert [each.table for each in found.unexplained] == ["test_results"]


def test_rows_that_come_are_not_explained_by_a_script_that_removes_some() -> None:
    found = compare(OLD, replace(NEW, rows={**NEW.rows, "test_results": 31}))
    assert [each.table for each in found.unexplained] == ["test_results"]


def test_runs_take_the_id_of_their_job_only_by_the_script_that_does_it() -> None:
    assert compare(OLD, NEW).runs_renamed == {"test_runs": 3}
    assert compare(replace(OLD, revision=213), NEW).runs_renamed == {}


def test_jobs_with_other_ids_are_noticed() -> None:
    assert compare(OLD, NEW).runs_kept
    assert not compare(OLD, replace(NEW, jobs="3:18")).runs_kept
