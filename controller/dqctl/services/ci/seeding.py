"""Loading seeds: their files become tables, then their statements are run."""

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import pyarrow.parquet

from dqctl.databricks.failures import StatementFailed
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import UsageError
from dqctl.progress import Progress
from dqctl.services.ci.scripts import Statement
from dqctl.services.ci.seeds import SeedFile, Seeds, read_csv
from dqctl.services.loading import load_parquet
from dqctl.tables.sql import Place

_AT_ONCE = 2
_ROWS = 100_000  # of a Delta table in memory at a time


@dataclass(frozen=True)
class Loaded:
    """A table that was made, or a file whose statements were run."""

    file: str
    table: str | None
    rows: int | None
    statements: int | None = None


def load(
    warehouse: Warehouse, seeds: Seeds, moved: Mapping[str, str], catalog: str, progress: Progress
) -> tuple[Loaded, ...]:
    """Make the tables and run the statements; ``moved`` are schemas that have another name there.

    Raises ``UsageError`` that names the file, and the line where there is one.
    """

    def place(each: SeedFile) -> Place:
        return Place(each.catalog or catalog, moved.get(each.schema, each.schema))

    if not moved:
        for there in sorted({place(each) for each in seeds.files}, key=lambda found: found.quoted):
            if there.catalog != catalog:
                warehouse.execute(f"CREATE CATALOG IF NOT EXISTS {there.catalog}")
            warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {there.quoted}")
    tables = [each for each in seeds.files if each.kind != "sql"]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        loaded = list(threads.map(lambda each: _load(warehouse, each, place(each)), tables))
    if tables:
        progress(f"seeds are loaded: {len(tables)} tables, {sum(each.rows or 0 for each in loaded):,} rows")
    scripts = [each for each in seeds.files if each.kind == "sql"]
    return (
        *loaded,
        *(_run(warehouse, each, (seeds.statements or {})[each.path], place(each)) for each in scripts),
    )


def _load(warehouse: Warehouse, seed: SeedFile, place: Place) -> Loaded:
    with _as_parquet(seed) as (file, rows):
        try:
            load_parquet(warehouse, place, seed.table, file)
        except StatementFailed as failure:
            raise UsageError(f"{seed.shown} cannot be loaded: {failure.message}", "mend the file") from failure
    return Loaded(seed.shown, f"{place.catalog}.{place.schema}.{seed.table}", rows)


@contextmanager
def _as_parquet(seed: SeedFile) -> Iterator[tuple[IO[bytes], int]]:
    if seed.kind == "parquet":
        with seed.path.open("rb") as file:
            yield file, pyarrow.parquet.ParquetFile(seed.path).metadata.num_rows
        return
    with tempfile.TemporaryFile() as spooled:
        if seed.kind == "csv":
            table = read_csv(seed)
            pyarrow.parquet.write_table(table, spooled)
            rows = table.num_rows
        else:
            rows = _spool_delta(seed, spooled)
        spooled.seek(0)
        yield spooled, rows


def _spool_delta(seed: SeedFile, spooled: IO[bytes]) -> int:
    try:
        import deltalake  # of the local workspace's packages, which need not be there
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{seed.shown} is a Delta table, and the package deltalake is not installed",
            "install it beside dqctl: pip install 'dqctl[workspace]'; or write the table as Parquet",
        ) from error
    rows = 0
    try:
        found = deltalake.DeltaTable(seed.path).to_pyarrow_dataset()
        with pyarrow.parquet.ParquetWriter(spooled, found.schema) as writer:
            for batch in found.to_batches(batch_size=_ROWS):
                writer.write_batch(batch)
                rows += batch.num_rows
    except Exception as error:
        raise UsageError(
            f"{seed.shown} cannot be read: {str(error).splitlines()[0]}", "write the table as Parquet instead"
        ) from error
    return rows


def _run(warehouse: Warehouse, seed: SeedFile, statements: tuple[Statement, ...], place: Place) -> Loaded:
    """Run statements one after the other, in the schema of their folder."""
    with Warehouse(warehouse.target, catalog=place.catalog, schema=place.schema) as session:
        for each in statements:
            try:
                session.run_given(each.text)
            except StatementFailed as failure:
                raise UsageError(f"{seed.shown}:{each.line}: {failure.message}", "mend the statement") from failure
    return Loaded(seed.shown, None, None, len(statements))
