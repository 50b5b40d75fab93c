"""``read_files`` and ``csv.`/Volumes/...` ``: files of a volume as a relation that the engine can read."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql.files import FORMATS, data_files, reader_options
from dqctl.localworkspace.types import Column, columns_from_arrow, quoted_if_needed
from dqctl.localworkspace.volumes import Volumes

METADATA = "_metadata"
_WHOLE_NUMBERS = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_WHOLE_NUMBERS, "float", "double")
# What Databricks takes and what says nothing here: files are listed at once, and nothing evolves while it is read.
_IGNORED = {"schemaevolutionmode", "recursivefilelookup", "cloudfiles.inferColumnTypes", "usestrictglobber"}


class Place(Protocol):
    """Where files are looked up and read."""

    volumes: Volumes
    engine: EngineSession


def relation(
    place: Place, path: str, options: Mapping[str, str], stack: ExitStack, *, metadata: bool
) -> exp.Table | exp.Subquery:
    """The rows of the files at ``path``, with ``_metadata`` as a column of theirs if it is asked for."""
    lowered = {key.lower(): value for key, value in options.items() if key.lower() not in _IGNORED}
    pattern = lowered.pop("filenamepattern", lowered.pop("pathglobfilter", None))
    files = data_files(path, place.volumes)
    if pattern is not None:
        files = {name: file for name, file in files.items() if file.match(pattern)}
    if not files:
        raise StatementError("CLOUD_FILE_SOURCE_FILE_NOT_FOUND", f"No such file: {path}", "42K03")
    file_format = (lowered.pop("format", None) or _format_of(files)).lower()
    if file_format not in FORMATS:
        raise errors.unsupported(f"read_files of format {file_format}")
    if lowered.get("rescueddatacolumn"):
        raise errors.unsupported("read_files with rescuedDataColumn")
    schema, hints = lowered.pop("schema", None), lowered.pop("schemahints", None)
    # A folder goes to the engine as a folder, which makes columns of ``year=2024``.
    single = (
        str(place.volumes.file(path)) if not any(char in path for char in "*?[{") and pattern is None else None
    )
    reading = _Reading(place.engine, file_format, reader_options(file_format, lowered), stack)
    schema = schema or reading.schema(files, single, hints)
    if not metadata:
        return _table(reading.view([single] if single else [str(file) for file in files.values()], schema))
    paths = [single] if single else [str(file) for file in files.values()]
    whole = reading.columns(paths, schema)
    union: exp.Expr | None = None
    for name, file in files.items():
        view = reading.view([str(file)], schema)
        part = _with_metadata(view, name, file, whole, reading.columns([str(file)], schema))
        union = part if union is None else exp.union(union, part, distinct=False, copy=False)
    return exp.Subquery(this=union)


class _Reading:
    """How the files of one relation are read."""

    def __init__(
        self, engine: EngineSession, file_format: str, options: Mapping[str, str], stack: ExitStack
    ) -> None:
        self._engine, self._format, self._options, self._stack = engine, file_format, options, stack

    def view(self, paths: list[str], schema: str | None) -> str:
        """The name of a view of files."""
        return self._stack.enter_context(self._engine.files(self._format, paths, self._options, schema))

    def schema(self, files: Mapping[str, Path], single: str | None, hints: str | None) -> str | None:
        """The schema to read with, as DDL; None where what the engine finds by itself will do."""
        if hints is None and (self._format != "csv" or len(files) == 1):
            return None
        try:
            found = self.columns([single] if single else [str(file) for file in files.values()])
        except Exception as error:
            # Sail 0.7.2 finds a type for each CSV file and does not bring them together.
            if "merge schema" not in str(error):
                raise
            found = _together([self.columns([str(file)]) for file in files.values()])
        else:
            if hints is None:
                return None
        hinted = {each.name.lower(): each for each in _hints(hints)}
        merged = [hinted.pop(column.name.lower(), column) for column in found]
        return ", ".join(f"{quoted_if_needed(each.name)} {each.type}" for each in (*merged, *hinted.values()))

    def columns(self, paths: list[str], schema: str | None = None) -> tuple[Column, ...]:
        """The columns of files."""
        return columns_from_arrow(self._engine.schema(f"TABLE `{self.view(paths, schema)}`"))


def _format_of(files: Mapping[str, Path]) -> str:
    """The format that the names of files tell; Parquet where they tell nothing."""
    names = {suffix for file in files.values() for suffix in file.suffixes}
    found = {"parquet", "csv", "json"} & {name.removeprefix(".") for name in names}
    if len(found) > 1:
        raise errors.invalid_parameter("The files are of several formats: say which with format => '...'.")
    if not found and names & {".txt", ".log"}:
        return "text"
    return found.pop() if found else "parquet"


def _together(schemas: list[tuple[Column, ...]]) -> tuple[Column, ...]:
    merged: dict[str, Column] = {}
    for columns in schemas:
        for column in columns:
            there = merged.get(column.name.lower())
            kind = column.type if there is None else _wider(there.type, column.type)
            merged[column.name.lower()] = Column(column.name, kind)
    return tuple(merged.values())


def _wider(one: str, other: str) -> str:
    if one == other or other == "void":
        return one
    if one == "void":
        return other
    if one in _NUMBERS and other in _NUMBERS:
        return max(one, other, key=_NUMBERS.index)
    return "string"


def _hints(text: str | None) -> list[Column]:
    if not text:
        return []
    parsed = exp.DataType.build(f"struct<{text}>", dialect="databricks")
    return [Column(each.name, each.args["kind"].sql("databricks").lower()) for each in parsed.expressions]


def _table(view: str) -> exp.Table:
    return exp.Table(this=exp.to_identifier(view, quoted=True))


def _with_metadata(view: str, name: str, file: Path, whole: Sequence[Column], own: Sequence[Column]) -> exp.Select:
    """The rows of one file, with the columns that all files together have."""
    found = file.stat()
    there = {column.name.lower() for column in own}
    # A column that the file does not have may be in its path: ``year=2024``.
    in_path = {
        key.lower(): exp.Literal.string(unquote(value))
        for key, sign, value in (part.partition("=") for part in name.split("/"))
        if sign
    }
    values: list[exp.Expr] = []
    for column in whole:
        key = column.name.lower()
        value: exp.Expr = (
            exp.column(exp.to_identifier(column.name, quoted=True))
            if key in there
            else in_path.get(key, exp.null())
        )
        cast = exp.cast(value, column.type, dialect="databricks") if column.type != "void" else value
        values.append(exp.alias_(cast, column.name, quoted=True))
    facts: list[exp.Expr] = []
    for fact, known in (
        ("file_path", exp.Literal.string(f"dbfs:{name}")),
        ("file_name", exp.Literal.string(file.name)),
        ("file_size", exp.cast(exp.Literal.number(found.st_size), "BIGINT", dialect="databricks")),
        ("file_modification_time",
         exp.Anonymous(this="timestamp_millis", expressions=[exp.Literal.number(int(found.st_mtime * 1000))])),
    ):  # fmt: skip
        facts += [exp.Literal.string(fact), known]
    values.append(exp.alias_(exp.Anonymous(this="named_struct", expressions=facts), METADATA))
    return exp.select(*values).from_(_table(view))
