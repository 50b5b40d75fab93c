"""Statements of TestGen asked again: the data that they are about, and answers that can be compared."""

import datetime
import decimal
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from dqctl.localworkspace.contract import Lakehouse, Parameter, StatementError

DATA = Path(__file__).parent / "statements" / "data.sql"


def data_statements() -> list[str]:
    """What makes the schema ``main.contract``."""
    return [part.strip() for part in DATA.read_text(encoding="utf-8").split(";\n") if part.strip()]


def recorded(version: str) -> list[dict[str, Any]]:
    """The statements of a version of TestGen with Spark's answers."""
    found: dict[str, Any] = json.loads((DATA.parent / f"{version}.json").read_text(encoding="utf-8"))
    statements: list[dict[str, Any]] = found["statements"]
    return statements


class Replay:
    """The two sessions, with ANSI mode and without it, that statements are asked again in."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._sessions = {
            mode: lakehouse.open_session(None, None, {"ansi_mode": str(mode).lower()}) for mode in (True, False)
        }

    def make_data(self) -> None:
        """The tables that the statements are about."""
        for statement in data_statements():
            self._sessions[True].execute(statement)

    def answer(self, statement: Mapping[str, Any]) -> dict[str, Any]:
        """Columns and rows, as JSON has them, in an order of their own; or the error's class."""
        parameters = [Parameter(*one) for one in statement.get("parameters", ())]
        try:
            table = self._sessions[bool(statement["ansi"])].execute(statement["sql"], parameters).table
        except StatementError as error:
            return {"error": error.error_class}
        return as_json(table)

    def close(self) -> None:
        """End the sessions."""
        for session in self._sessions.values():
            session.close()


def as_json(table: pa.Table) -> dict[str, Any]:
    """A result, comparable."""
    columns = [[plain(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    # TestGen's queries that return several rows are ordered by what they group by, or not at all.
    return {"columns": table.column_names, "rows": sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))}


def plain(value: object) -> object:
    """A value as JSON has it. Decimals keep their digits; floats lose what is the order of a sum."""
    if isinstance(value, float):
        return float(f"{value:.12g}") if value == value else "NaN"
    if isinstance(value, decimal.Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value
