"""What the reader asks of each version's metadata, without a database."""

import re

import pytest

from corpora import VERSIONS, corpus
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.reader.select import Present, places_of, select
from dqctl.testgen.reader.sources import Source, content_sources, run_source

# What a version does not have is NULL in the tables. A version that loses a column shows up here.
BEFORE_5_134 = {
    "dq_profile_columns.epoch_sum",
    "dq_profile_columns.key_column_name",
    "dq_profile_columns.keyed_hash",
    "dq_profile_columns.multiset_hash",
    "dq_profile_columns.percentile_method",
    "dq_profile_columns.sum_value",
    "dq_test_definitions.contract_term_id",
    "dq_test_definitions.version_id",
}
MISSING = {
    "5.134.0": set[str](),
    "5.92.2": BEFORE_5_134,
    "5.33.3": BEFORE_5_134 | {"dq_test_definitions.custom_metadata", "dq_test_definitions.external_url"},
}
UNMADE = {"dq_runs.dqctl_version", "dq_runs.row_counts", "dq_runs.published_at"}


def present(version: str) -> Present:
    one = corpus(version)
    return {
        table: {name: re.sub(r"\(.*\)", "", kind) for name, kind in columns}
        for table, columns in one.columns.items()
    }


def sources(version: str) -> tuple[Source, ...]:
    return (*content_sources(capabilities(version)), run_source(capabilities(version)))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_column_that_is_asked_for_exists(version: str) -> None:
    columns = present(version)
    for source in sources(version):
        statement = select(source, columns)
        for alias, name in re.findall(r"(?<![\w.'])([a-z]{1,2})\.([a-z_0-9]+)", statement):
            if alias in source.aliases:
                assert name in columns[source.aliases[alias]], f"{source.table.name}: {alias}.{name}"
            else:
                assert alias in ("o", "a", "p", "x"), f"{source.table.name}: {alias}.{name}"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_lacks_is_null_and_nothing_else_is(version: str) -> None:
    columns = present(version)
    missing = set()
    for source in sources(version):
        for column in source.table.columns:
            places = [place.split(".") for place in places_of(source, column.name)]
            found = any(name in columns[source.aliases[alias]] for alias, name in places)
            if not found and column.name not in source.computed:
                missing.add(f"{source.table.name}.{column.name}")
                assert f"AS {column.name}" in select(source, columns)
    assert missing - UNMADE == MISSING[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_that_hangs_on_a_run_in_the_metadata_is_left_unpublished(version: str) -> None:
    """A column that TestGen adds has to be published, or be named here with a reason."""
    columns = present(version)
    left_out = {
        "test_results": {"result_id", "test_run_id"},  # a number of TestGen's own; run_id
        "test_definitions": {"test_mode"},  # unused, gone since 5.92
        "profile_results": {"project_code", "connection_id", "profile_run_id", "top_patterns", "top_freq_values"},
        "profile_anomaly_results": {"project_code", "profile_run_id"},
    }
    for source in sources(version):
        table = next(iter(source.aliases.values()))
        if table in left_out:
            published = set(source.table.column_names) | {"test_suite_id", "table_groups_id"}
            assert set(columns[table]) - published - left_out[table] == set(), table


def test_an_unknown_column_type_is_cast_and_a_lost_column_is_null() -> None:
    source = next(one for one in sources("5.134.0") if one.table.name == "dq_test_results")
    columns = {table: dict(found) for table, found in present("5.134.0").items()}
    columns["test_results"]["result_code"] = "smallint"
    del columns["test_results"]["result_signal"]
    statement = select(source, columns)
    assert "r.result_code::bigint AS result_code" in statement
    assert "NULL::text AS result_signal" in statement
