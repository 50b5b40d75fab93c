"""What only a real workspace can settle; DQCTL_LIVE_HOST, _HTTP_PATH, _TOKEN and _CATALOG say which."""

import os
import secrets
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from dqctl import records
from dqctl.databricks.target import PersonalToken, Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.services import tables
from dqctl.tables.sql import Place

pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    target = Target(
        host=os.environ["DQCTL_LIVE_HOST"],
        http_path=os.environ["DQCTL_LIVE_HTTP_PATH"],
        catalog=os.environ.get("DQCTL_LIVE_CATALOG", "main"),
        schema=f"dqctl_live_{secrets.token_hex(4)}",
        auth=PersonalToken(SecretStr(os.environ["DQCTL_LIVE_TOKEN"])),
    )
    with Warehouse(target) as opened:
        yield opened
        opened.execute(f"DROP SCHEMA IF EXISTS `{target.catalog}`.`{target.schema}` CASCADE")


def test_tables_are_made_once_and_found_again(warehouse: Warehouse) -> None:
    place = Place(warehouse.target.catalog, warehouse.target.schema)
    made = tables.ensure(warehouse, place)
    again = tables.ensure(warehouse, place)
    assert made == again
    assert {table.name for table in records.TABLES} <= set(again.columns)
