"""The real databricks-sql-connector, unchanged, old and new, with and without Arrow, by name and by port."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dqctl.localworkspace.endpoint import Endpoint
from workspaces import connector_python, foreign_environment, run_python, running_workspace

pytestmark = [
    pytest.mark.local,
    pytest.mark.feature("Clients", "databricks-sql-connector 4.5.0 and newer, with and without Arrow"),
]

PROBE = Path(__file__).parent / "connector_probe.py"
OLD = "databricks-sql-connector==4.5.0"
SEEN = [
    pytest.param((None, "name"), id="installed-by-name"),
    pytest.param((None, "port"), id="installed-by-port"),
    pytest.param((OLD + ",pyarrow", "name"), id="4.5.0-by-name"),
    pytest.param((OLD, "port"), id="4.5.0-without-arrow-by-port"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as running:
        yield running


@pytest.fixture(scope="module", params=SEEN)
def seen(
    request: pytest.FixtureRequest, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    requirement, way = request.param
    by_name = way == "name"
    environment = foreign_environment(endpoint)
    if not by_name:
        del environment["HTTPS_PROXY"]
    output = run_python(
        connector_python(requirement),
        PROBE,
        environment,
        endpoint.host if by_name else endpoint.address,
        "443" if by_name else str(endpoint.port),
        endpoint.http_path,
        str(endpoint.token_file),
        str(endpoint.ca_file),
        str(tmp_path_factory.mktemp("files")),
        timeout=250,
    )
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    found["has_arrow"] = requirement != OLD
    if requirement is not None:
        assert found["version"] == "4.5.0"
    return found


def test_connecting_waits_for_nothing_outside(seen: dict[str, Any]) -> None:
    # It takes 34 s where the connector asks a host that does not answer, two or three otherwise if nobody is busy.
    assert seen["seconds_to_connect"] < 15


def test_parameters_arrive_with_their_types(seen: dict[str, Any]) -> None:
    assert seen["parameters"] == ["42", "a 'b'", "None"]


def test_every_type_comes_back(seen: dict[str, Any]) -> None:
    names, values = seen["types"]
    assert names == [
        "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "string", "binary",
        "date", "timestamp", "array", "map", "struct", "int",
    ]  # fmt: skip
    assert values[:9] == ["True", "1", "2", "3", "4", "1.5", "2.5", "1.25", "text"]
    assert values[10] == "2024-02-29"
    assert values[11].startswith("2024-02-29 12:30:00")
    assert values[15] == "None"
    if seen["has_arrow"]:
        assert values[9] == "b'raw'"
    else:  # column sets carry complex values as text
        assert values[12:15] == ["[1,2]", '{"k":1}', '{"a":1}']


def test_300000_rows_come_in_chunks_each_once(seen: dict[str, Any]) -> None:
    assert seen["chunked"] == [300_000, sum(range(300_000)), "row 299999"]


def test_volume_files_travel_both_ways(seen: dict[str, Any]) -> None:
    assert seen["staged"]["same"] is True
    assert seen["staged"]["short"] == "short"
    assert seen["staged"]["gone"]


def test_put_without_overwrite_keeps_the_file(seen: dict[str, Any]) -> None:
    assert seen["staged"]["refused"]


def test_asynchronous_statements_deliver(seen: dict[str, Any]) -> None:
    assert seen["asynchronous"] == [499_500, ["SUCCEEDED"]]


def test_metadata_has_the_columns_of_databricks(seen: dict[str, Any]) -> None:
    columns = {name: found[0] for name, found in seen["metadata"].items()}
    assert columns["catalogs"] == ["TABLE_CAT"]
    assert columns["schemas"] == ["TABLE_SCHEM", "TABLE_CATALOG"]
    assert columns["tables"][:4] == ["TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE"]
    assert columns["columns"][:6] == [
        "TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME",
    ]  # fmt: skip


def test_failures_carry_class_and_sqlstate(seen: dict[str, Any]) -> None:
    kind, message = seen["missing_table"]
    assert kind == "ServerOperationError"
    assert message.startswith("[TABLE_OR_VIEW_NOT_FOUND]")
    assert message.endswith("SQLSTATE: 42P01")


def test_too_many_parameters_are_refused(seen: dict[str, Any]) -> None:
    assert "257 parameters were given but the limit is 256" in seen["too_many_parameters"][1]


def test_cancel_returns_soon_and_frees_the_session(seen: dict[str, Any]) -> None:
    assert "OPERATION_CANCELED" in seen["cancelled"]["outcome"][1]
    # The statement takes days. The client waits a minute for the end of it, where five others work.
    assert seen["cancelled"]["seconds"] < 60
    assert seen["cancelled"]["again"] == 1
    assert seen["cancelled"]["seconds_until_again"] < 120


def test_a_bad_token_is_refused_with_its_reason(seen: dict[str, Any]) -> None:
    assert seen["bad_token"][0] == "RequestError"
    assert "Invalid access token." in seen["bad_token"][1]


def test_a_catalog_that_is_not_there_is_refused(seen: dict[str, Any]) -> None:
    assert "nowhere" in seen["bad_catalog"][1]


def test_dml_tells_its_rows(seen: dict[str, Any]) -> None:
    # databricks-sql-connector before 4.4.0 has no count; 4.5.0 has.
    assert seen["rowcount"] == 2


def test_the_server_does_all_of_this_without_pandas(seen: dict[str, Any], endpoint: Endpoint) -> None:
    assert seen["version"]
    mapped = Path(f"/proc/{endpoint.pid}/maps").read_text()
    assert "/pyarrow/" in mapped
    assert "/pandas/" not in mapped
