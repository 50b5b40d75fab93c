"""The contracts of TestGen's CSVs against what every known version really wrote (``dump_csv.py``)."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dqctl.errors import OutputUnreadable
from dqctl.testgen.capabilities import KNOWN, Capabilities, capabilities
from dqctl.testgen.contracts import COMMANDS, Contract, Kind, contract, parse, without_secrets

DIRECTORY = Path(__file__).parent / "csv"
AWKWARD = 'it\'s "odd",\r\nline two;\ttab é 😀 \\n ""'
KEY = b"planted-observability-key-4711"

CASES = [
    pytest.param(known.version, command, id=f"{known.version}-{command}")
    for known in KNOWN
    for command in COMMANDS
    if command not in known.broken_commands
]

# The SQL template that a command reads, whose columns' types PostgreSQL told.
_TEMPLATES = {
    "list-projects": "get_project_list",
    "list-connections": "get_connections_list",
    "list-table-groups": "get_table_group_list",
    "list-test-suites": "get_test_suite_list",
    "get-test-suite": "get_test_suite",
    "list-profiles": "get_profile_list",
    "get-profile": "get_profile_info",
    "get-profile-anomalies": "get_profile_screen",
    "list-test-types": "list_test_types",
    "list-tests": "get_test_info",
    "list-test-generation": "get_test_generation_list",
    "list-test-runs": "get_test_run_list",
    "get-test-results": "get_test_results_for_run_cli",
}
_KINDS = {"uuid": Kind.UUID, "timestamp": Kind.TIMESTAMP, "int4": Kind.INTEGER, "int8": Kind.INTEGER}


def expected(version: str, command: str) -> Contract:
    found = contract(command, capabilities(version))
    assert found
    return found


def golden(version: str, command: str) -> bytes:
    return (DIRECTORY / version / f"{command}.csv").read_bytes()


def test_every_command_of_every_version_has_a_golden_file_and_no_other_has() -> None:
    files = {(path.parent.name, path.stem) for path in DIRECTORY.glob("*/*.csv")}
    assert files == {tuple(case.values) for case in CASES}


@pytest.mark.parametrize(("version", "command"), CASES)
def test_what_testgen_wrote_is_read_whole_and_typed(version: str, command: str) -> None:
    one, content = expected(version, command), golden(version, command)
    header, *lines = csv.reader(io.StringIO(content.decode(), newline=""))
    rows = parse(one, content)
    assert header == one.header
    assert len(rows) == len(lines) > 0
    for row, line in zip(rows, lines, strict=True):
        written = dict(zip(header, line, strict=True))
        assert set(row) == {field.name for field in one.shown}
        for field in one.shown:
            value, text = row[field.name], written[field.name]
            if not text:
                assert value is None
            elif field.kind is Kind.INTEGER:
                assert (type(value), str(value)) == (int, text)
            elif field.kind is Kind.TIMESTAMP:
                assert value == datetime.fromisoformat(text).replace(tzinfo=UTC)
            else:
                assert value == text


@pytest.mark.parametrize(("version", "command"), CASES)
def test_the_types_are_postgresqls_own(version: str, command: str) -> None:
    types = json.loads((DIRECTORY / version / "types.json").read_text(encoding="utf-8"))[_TEMPLATES[command]]
    one = expected(version, command)
    assert list(types) == one.header
    for field in one.fields:
        stored = types[field.name]
        if field.name == "test_run_id":  # cast to text by the command itself
            assert (stored, field.kind) == ("varchar", Kind.UUID)
        elif field.kind is not Kind.WITHHELD:
            assert field.kind is _KINDS.get(stored, Kind.TEXT), (field, stored)
            assert stored in _KINDS or re.match(r"varchar|text", stored), stored


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.version)
def test_a_command_is_called_broken_where_its_sql_is(known: Capabilities) -> None:
    version = known.version
    types = json.loads((DIRECTORY / version / "types.json").read_text(encoding="utf-8"))
    failing = {command for command, template in _TEMPLATES.items() if "error" in types[template]}
    assert failing == set(capabilities(version).broken_commands)


@pytest.mark.parametrize("version", [known.version for known in KNOWN])
def test_the_golden_files_hold_what_parsers_stumble_over(version: str) -> None:
    (project,) = [
        row
        for row in parse(expected(version, "list-projects"), golden(version, "list-projects"))
        if row["project_key"] == "sales"
    ]
    assert project["project_name"] == AWKWARD
    (group,) = parse(expected(version, "list-table-groups"), golden(version, "list-table-groups"))
    assert (group["include_mask"], group["exclude_mask"]) == (AWKWARD, None)
    results = parse(expected(version, "get-test-results"), golden(version, "get-test-results"))
    assert {"Passed", "Failed", None} <= {row["result"] for row in results}
    (errored,) = [row for row in results if row["result"] is None]
    assert (errored["column_name"], errored["result_measure"]) == ('no "such", column', None)
    assert {"Größe, sonder", "customers"} <= {row["table_name"] for row in results}
    tests = parse(expected(version, "list-tests"), golden(version, "list-tests"))
    assert AWKWARD in {row["test_description"] for row in tests}
    assert {row["disabled"] for row in tests} == {"Enabled", "Disabled"}
    assert {row["test_refresh"] for row in tests} == {"Allowed", "Locked"}
    anomalies = parse(expected(version, "get-profile-anomalies"), golden(version, "get-profile-anomalies"))
    assert any('it\'s "odd",' in (row["detail"] or "") for row in anomalies)
    runs = parse(expected(version, "list-test-runs"), golden(version, "list-test-runs"))
    assert {row["sent_to_obs"] for row in runs} >= {None}


@pytest.mark.parametrize("version", [known.version for known in KNOWN])
def test_the_key_of_a_project_leaves_no_parser(version: str) -> None:
    one, content = expected(version, "list-projects"), golden(version, "list-projects")
    assert KEY in content
    clean = without_secrets(one, content)
    assert clean == content.replace(KEY, b"")
    assert parse(one, clean) == parse(one, content)
    assert "planted" not in repr(parse(one, content)) + repr(one.table)


@pytest.mark.parametrize(("version", "command"), CASES)
def test_a_file_that_is_cut_off_anywhere_is_unreadable_or_ends_with_a_row(version: str, command: str) -> None:
    one, content = expected(version, command), golden(version, command)
    whole = parse(one, content)
    for length in range(0, len(content), max(1, len(content) // 200)):
        try:
            rows = parse(one, content[:length])
        except OutputUnreadable:
            continue
        assert rows == whole[: len(rows)]


@pytest.mark.parametrize(("version", "command"), CASES)
def test_the_file_of_another_command_does_not_fit(version: str, command: str) -> None:
    for other in COMMANDS:
        if other != command and (one := contract(other, capabilities(version))):
            with pytest.raises(OutputUnreadable, match="header"):
                parse(one, golden(version, command))


def test_a_column_has_one_type_in_all_versions() -> None:
    for command in COMMANDS:
        kinds: dict[str, set[Kind]] = {}
        for known in KNOWN:
            if one := contract(command, known):
                for field in one.fields:
                    kinds.setdefault(field.name, set()).add(field.kind)
        assert all(len(found) == 1 for found in kinds.values()), (command, kinds)
