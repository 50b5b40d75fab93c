"""Seed data: a folder with files that become tables, and statements that are run when those are there.

    <file>                       a table of the schema "default"
    <schema>/<file>              a table of that schema
    <catalog>/<schema>/<file>    likewise, of another catalog than the usual one

``orders.parquet``, ``orders.csv`` and a Delta table's folder ``orders`` are the table ``orders``. Statements of
``*.sql`` are run afterwards, in the order of the files' paths.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from dqctl.errors import UsageError
from dqctl.services.ci.scripts import Statement, split

DEFAULT_SCHEMA = "default"

_DEPTH = 2  # folders: catalog and schema


@dataclass(frozen=True)
class SeedFile:
    """A file of the folder. ``catalog`` is None for the usual one; ``kind`` is parquet, csv, delta or sql."""

    path: Path
    shown: str
    kind: str
    catalog: str | None
    schema: str
    table: str


@dataclass(frozen=True)
class Seeds:
    """What a folder holds: tables first, then statements."""

    files: tuple[SeedFile, ...] = ()
    statements: Mapping[Path, tuple[Statement, ...]] | None = None

    @property
    def schemas(self) -> tuple[str, ...]:
        """Names of all schemas."""
        return tuple(sorted({each.schema for each in self.files}))

    def require_one_catalog(self) -> None:
        """``UsageError`` when a file is of another catalog than the usual one."""
        for each in self.files:
            if each.catalog:
                raise UsageError(
                    f"{each.shown} is for the catalog {each.catalog}",
                    "in a Databricks workspace seeds go into throw-away schemas of one catalog: leave the folder "
                    "of the catalog away",
                )


def plan(folder: Path) -> Seeds:
    """What is in ``folder``, looked at without loading it.

    Raises ``UsageError`` for a folder that is not there, a file that is no seed or cannot be read, and two of one
    table.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", "name the folder with the seeds: --seed FOLDER")
    files = tuple(_files(folder, folder, ()))
    places = Counter((each.catalog, each.schema, each.table.lower()) for each in files if each.kind != "sql")
    for each in files:
        if each.kind != "sql" and places[each.catalog, each.schema, each.table.lower()] > 1:
            raise UsageError(f"{each.shown}: another file is the same table", "leave one of them")
    statements = {}
    for each in files:
        if each.kind == "sql":
            statements[each.path] = tuple(split(_text(each), each.shown))
        elif each.kind == "parquet":
            _require_parquet(each)
        elif each.kind == "csv":
            read_csv(each)
    return Seeds(tuple(sorted(files, key=lambda each: (each.kind == "sql", each.shown))), statements)


def _files(folder: Path, top: Path, above: tuple[str, ...]) -> Iterator[SeedFile]:
    for path in sorted(folder.iterdir()):
        shown = f"{top.name}/{path.relative_to(top)}"
        if path.name.startswith((".", "_")):
            continue
        is_delta = (path / "_delta_log").is_dir()
        if path.is_dir() and not is_delta:
            if len(above) == _DEPTH:
                raise UsageError(
                    f"{shown} is too deep", "folders are a schema, or a catalog with schemas; files are tables"
                )
            yield from _files(path, top, (*above, path.name))
            continue
        kind = "delta" if is_delta else path.suffix.lower().removeprefix(".")
        if kind not in ("delta", "parquet", "csv", "sql"):
            raise UsageError(
                f"{shown} is no seed", "seeds are *.parquet, *.csv, *.sql and folders of Delta tables; remove it"
            )
        catalog = above[0] if len(above) == _DEPTH else None
        schema = above[-1] if above else DEFAULT_SCHEMA
        yield SeedFile(path, shown, kind, catalog, schema, path.name if is_delta else path.stem)


def _require_parquet(seed: SeedFile) -> None:
    try:
        pyarrow.parquet.read_metadata(seed.path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(
            f"{seed.shown} is no Parquet file: {str(error).splitlines()[0]}", "write it anew, or remove it"
        ) from error


def read_csv(seed: SeedFile) -> pa.Table:
    """The file as a table, in types that a warehouse has; ``UsageError`` when it is none."""
    wrong: list[Any] = []

    def note(row: Any) -> str:
        wrong.append(row)
        return "skip"

    try:
        found = pyarrow.csv.read_csv(
            io.BytesIO(seed.path.read_bytes()),
            # Rows are numbered only where one thread reads them.
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            # Nothing between two commas is NULL; an empty text is "".
            convert_options=pyarrow.csv.ConvertOptions(
                null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{seed.shown} cannot be read: {str(error).splitlines()[0]}", _CSV) from error
    for row in wrong:
        raise UsageError(
            f"{seed.shown}:{row.number}: {row.actual_columns} values, and {row.expected_columns} columns", _CSV
        )
    return _fit(found, seed)


_CSV = "it has to be UTF-8 with commas, and its first line has the names of the columns"


def _fit(table: pa.Table, seed: SeedFile) -> pa.Table:
    """``table`` in types that a warehouse has."""
    names = Counter(name.lower() for name in table.column_names)
    for position, column in enumerate(table.schema):
        if not column.name or names[column.name.lower()] > 1:
            what = f"{column.name!r} is there twice" if column.name else f"number {position + 1} has no name"
            raise UsageError(f"{seed.shown}:1: column {what}", _CSV)
        if pa.types.is_binary(column.type):
            raise UsageError(f"{seed.shown}: column {column.name!r} is not UTF-8", _CSV)
        if pa.types.is_null(column.type) or pa.types.is_time(column.type):
            table = table.set_column(position, column.name, table.column(position).cast(pa.string()))
    return table


def _text(seed: SeedFile) -> str:
    try:
        return seed.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{seed.shown} cannot be read: {error}", "save the file as UTF-8") from None
