"""What TestGen's ``list-*`` and ``get-*`` commands write, as data: the CSV's columns with their types.

TestGen writes these files with Python's ``csv`` module: RFC 4180, CRLF, UTF-8, NULL as an empty field (an empty
string is the same; nobody can tell). Types are PostgreSQL's own of the columns behind them (tests/contract/csv);
measures and thresholds are text there too, because some are dates or lists. Times are UTC without a zone.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from dqctl.errors import OutputUnreadable
from dqctl.records import Column, Row, Table, Type
from dqctl.testgen.capabilities import Capabilities

FILE_OUT = "testgen/file-out"
"""Where below HOME the commands write: one file each, of a fixed name."""


class Kind(StrEnum):
    """Types of columns. What is withheld is a secret: its values never leave this module."""

    UUID = "uuid"
    TEXT = "text"
    INTEGER = "integer"
    TIMESTAMP = "timestamp"
    WITHHELD = "withheld"


@dataclass(frozen=True)
class Field:
    """One column of a CSV."""

    name: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True)
class Contract:
    """What one command of one version writes."""

    command: str
    fields: tuple[Field, ...]

    @property
    def file(self) -> str:
        """Name of the file in ``FILE_OUT``."""
        return f"{self.command.replace('-', '_')}.csv"

    @property
    def header(self) -> list[str]:
        """The first line."""
        return [field.name for field in self.fields]

    @property
    def shown(self) -> tuple[Field, ...]:
        """The columns that may be shown and published: all but the secret ones."""
        return tuple(field for field in self.fields if field.kind is not Kind.WITHHELD)

    @property
    def table(self) -> Table:
        """The published table: the columns that may be shown, behind those that say which call they are from."""
        return Table(
            f"dq_cli_{self.command.replace('-', '_')}",
            f"What testgen {self.command} said, a row a row of its CSV (dqctl testgen --publish).",
            (*CALL, *(Column(field.name, _PUBLISHED[field.kind], _MEANING[field.kind]) for field in self.shown)),
            key=("stack", "call_id", "row_number"),
            cluster_by=("stack", "ran_at"),
        )


CALL = (
    Column("stack", Type.STRING, "The dqctl stack that was asked.", required=True),
    Column("call_id", Type.STRING, "The call of dqctl testgen that brought the row (UUID).", required=True),
    Column("row_number", Type.BIGINT, "Place of the row in the CSV, from 1.", required=True),
    Column("arguments", Type.STRING, "The whole command, as a shell has it."),
    Column("ran_at", Type.TIMESTAMP, "When it was started.", required=True),
    Column("testgen_version", Type.STRING, "Version of TestGen that answered."),
)
"""What every published table of calls begins with."""

_PUBLISHED = {
    Kind.UUID: Type.STRING,
    Kind.TEXT: Type.STRING,
    Kind.INTEGER: Type.BIGINT,
    Kind.TIMESTAMP: Type.TIMESTAMP,
}
_MEANING = {
    Kind.UUID: "As TestGen writes it (UUID).",
    Kind.TEXT: "As TestGen writes it.",
    Kind.INTEGER: "As TestGen writes it.",
    Kind.TIMESTAMP: "As TestGen writes it (UTC).",
}


def _fields(text: str) -> tuple[Field, ...]:
    """``name`` is text, ``name:kind`` something else."""
    pairs = (word.partition(":") for word in text.split())
    return tuple(Field(name, Kind(kind or Kind.TEXT)) for name, _, kind in pairs)


_FIELDS = {
    command: _fields(text)
    for command, text in {
        "list-projects": "id:uuid project_key project_name observability_api_key:withheld",
        "list-connections": "id:uuid project_key connection_id:integer sql_flavor project_host"
        " max_threads:integer max_query_chars:integer",
        "list-table-groups": "table_group_id:uuid project_key connection_id:integer table_group_schema"
        " profiling_table_set include_mask exclude_mask",
        "list-test-suites": "test_suite_id:uuid project_key test_suite_key connection_id:integer"
        " test_suite_description last_run:timestamp",
        "get-test-suite": "test_suite_id:uuid project_key test_suite_key connection_id:integer"
        " test_suite_description component_key component_type",
        "list-profiles": "profile_run_id:uuid project_key schema_name table_groups_id:uuid start_time:timestamp"
        " status tables:integer columns:integer",
        "get-profile": "profile_run_id:uuid run_date:timestamp schema_name table_name column_name general_type"
        " column_type functional_data_type",
        "get-profile-anomalies": "table_name column_name column_type screening_test detail",
        "list-test-types": "test_type test_description dq_dimension",
        "list-tests": "project_key test_suite_key test_type test_description test_refresh disabled watch_level"
        " schema_name table_name column_name measure_uom threshold_value baseline_ct baseline_unique_ct"
        " baseline_value baseline_value_ct baseline_sum baseline_avg baseline_sd lower_tolerance upper_tolerance"
        " subset_condition check_result last_auto_gen_date:timestamp profiling_as_of_date:timestamp",
        "list-test-generation": "test_suite_key table_groups_id:uuid last_auto_gen_date:timestamp"
        " profiling_as_of_date:timestamp lock_refresh tables:integer columns:integer tests:integer",
        "list-test-runs": "test_suite_key test_time:timestamp status test_run_id:uuid table_ct:integer"
        " result_ct:integer fail_ct:integer sent_to_obs:integer",
        "get-test-results": "test_suite_key table_name column_name test_type result result_message result_measure"
        " measure_uom",
    }.items()
}
_PROCESS_ID = Field("process_id", Kind.INTEGER)

COMMANDS = tuple(_FIELDS)
"""The commands that write a CSV, the same in every known version."""


def contract(command: str, version: Capabilities) -> Contract | None:
    """What ``command`` writes in that version; None when it writes no CSV."""
    fields = _FIELDS.get(command)
    if fields is None or command in version.broken_commands:
        return None
    if command == "list-test-runs" and version.test_run_list_has_process_id:
        fields = (*fields, _PROCESS_ID)
    return Contract(command, fields)


def parse(expected: Contract, content: bytes) -> tuple[Row, ...]:
    """The rows of a CSV, typed, in its order; secret columns are left out.

    Raises ``OutputUnreadable``, without quoting a value, when the file is not what ``expected`` says: another
    header, a row that is cut off, a value of another type.
    """
    try:
        return tuple(_rows(expected, _lines(content)))
    except (ValueError, csv.Error) as error:
        raise OutputUnreadable(f"the CSV of testgen {expected.command} does not fit: {error}") from None


def without_secrets(expected: Contract, content: bytes) -> bytes:
    """The same CSV with nothing in its secret columns; ``content`` is one that ``parse`` accepts."""
    secret = {number for number, field in enumerate(expected.fields) if field.kind is Kind.WITHHELD}
    if not secret:
        return content
    header, *rows = _lines(content)
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows(["" if number in secret else value for number, value in enumerate(row)] for row in rows)
    return out.getvalue().encode()


def _lines(content: bytes) -> Iterator[list[str]]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from None
    if not text.endswith("\r\n"):
        raise ValueError("the last line is cut off" if text else "the file is empty")
    # The limit is one of the whole process; a field may be as long as the file.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    return csv.reader(io.StringIO(text, newline=""), strict=True)


def _rows(expected: Contract, lines: Iterator[list[str]]) -> Iterator[Row]:
    header = next(lines)
    if header != expected.header:
        unknown = [name for name in header if name not in expected.header]
        lost = [name for name in expected.header if name not in header]
        raise ValueError(f"its header has {unknown or 'nothing'} too much, lacks {lost or 'nothing'}, or is mixed")
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise ValueError(f"row {number} has {len(line)} of {len(header)} columns")
        yield {
            field.name: _value(field, text, number)
            for field, text in zip(expected.fields, line, strict=True)
            if field.kind is not Kind.WITHHELD
        }


def _value(field: Field, text: str, row: int) -> Any:
    if not text:
        return None
    try:
        return _READ[field.kind](text)
    except ValueError:
        raise ValueError(f"{field.name} of row {row} is no {field.kind}") from None


_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_BIGINT = range(-(2**63), 2**63)
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(\.[0-9]{6})?([+-][0-9]{2}:[0-9]{2})?", re.ASCII)


def _uuid(text: str) -> str:
    found = str(UUID(text))
    if found != text:
        raise ValueError(text)
    return found


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or int(text) not in _BIGINT:
        raise ValueError(text)
    return int(text)


def _timestamp(text: str) -> datetime:
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(text)
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


_READ: Mapping[Kind, Callable[[str], Any]] = {
    Kind.UUID: _uuid,
    Kind.TEXT: str,
    Kind.INTEGER: _integer,
    Kind.TIMESTAMP: _timestamp,
}
