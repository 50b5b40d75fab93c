"""The rows of one table on their way: held as long as they are few, in a Parquet file without a name when not."""

import tempfile
from collections.abc import Iterable, Sequence
from typing import IO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from dqctl.records import Row, Table
from dqctl.tables import digest, encode
from dqctl.tables.digest import Digest

# Rows of one table, each batch with the run that they belong to.
Batches = Iterable[tuple[str, pa.RecordBatch]]

# A warehouse takes 1 MB of parameters; the rest is for what the wire adds.
INLINE_BYTES = 700_000
# Of Arrow, which takes about as much as JSON, or less: beyond it nobody need try whether the rows fit.
_HELD_BYTES = INLINE_BYTES * 3 // 2
# Runs that are small are taken together: a batch of few rows costs as much as one of thousands.
_TOGETHER_ROWS = 4000
# Of a file, up to which it stays in memory.
_SPOOL_BYTES = 8_000_000


class Shipment:
    """Takes batches one after the other; ``seal`` ends that. Afterwards either ``text`` holds all rows as JSON, or
    ``file`` is a Parquet file of them, open for reading, which has no name and is gone when it is closed.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.digests: dict[str, Digest] = {}
        self.text: str | None = None
        self.file: IO[bytes] | None = None
        self._gathered: list[tuple[str, pa.RecordBatch]] = []
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, owner: str, batch: pa.RecordBatch) -> None:
        """Take some rows of ``owner``; ``digests`` says of each, after ``seal``, what its rows came to."""
        self._gathered.append((owner, batch))
        if sum(gathered.num_rows for _, gathered in self._gathered) >= _TOGETHER_ROWS:
            self._take()

    def _take(self) -> None:
        if not self._gathered:
            return
        batch = pa.concat_batches([gathered for _, gathered in self._gathered])
        numbers = digest.numbers(self.table, batch)
        start = 0
        for owner, gathered in self._gathered:
            end = start + gathered.num_rows
            self.digests[owner] = self.digests.get(owner, Digest()) + digest.of(numbers[start:end])
            start = end
        self._gathered.clear()
        if self._writer:
            self._writer.write_batch(batch)
            return
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        if self._held_bytes > _HELD_BYTES:
            self._spill()

    def seal(self) -> None:
        """No more rows come."""
        self._take()
        if not self._writer:
            text = encode.to_json(self.table, self.rows)
            if len(text.encode()) <= INLINE_BYTES:
                self.text = text
                return
            self._spill()
        if self._writer and self.file:
            self._writer.close()
            self.file.seek(0)

    @property
    def count(self) -> int:
        """How many rows, after ``seal``."""
        return sum(found.rows for found in self.digests.values())

    @property
    def rows(self) -> Sequence[Row]:
        """Those that are held: all of them when ``text`` holds them."""
        return [row for batch in self._held for row in batch.to_pylist()]

    @property
    def size(self) -> int:
        """Bytes that travel, after ``seal``."""
        if self.file:
            return self.file.seek(0, 2)
        return len((self.text or "").encode())

    def __enter__(self) -> Self:
        """For ``with``, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the rows."""
        self.close()

    def close(self) -> None:
        """Forget the rows."""
        self._held.clear()
        if self.file:
            self.file.close()

    def _spill(self) -> None:
        self.file = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - closed by close
        self._writer = encode.parquet_writer(self.table, self.file)
        for batch in self._held:
            self._writer.write_batch(batch)
        self._held.clear()


def packed(table: Table, batches: Batches) -> Shipment:
    """All batches of one table, sealed. Whoever gets it closes it."""
    shipment = Shipment(table)
    try:
        for owner, batch in batches:
            shipment.add(owner, batch)
        shipment.seal()
    except BaseException:
        shipment.close()
        raise
    return shipment
