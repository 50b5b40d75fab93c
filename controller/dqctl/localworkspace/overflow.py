"""Results on their way to a client: in memory while they are small, in a file of the data directory beyond.

A warehouse keeps a result for as long as its client takes to read it, which may be for ever, and a statement fails
before its first row is read or not at all. So all rows are taken from the engine at once, but the memory that they
take does not grow with them. The file has no name: the kernel frees it with the last table that refers to it,
however the server ends.
"""

import mmap
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

MEMORY_BYTES = 32 * 1024 * 1024
_WRITTEN_AT_ONCE = 1024 * 1024

# A set must not change while it is walked through, and every statement has a thread of its own.
_lock = threading.Lock()
_mapped: "weakref.WeakSet[mmap.mmap]" = weakref.WeakSet()


def collected(schema: pa.Schema, batches: Iterator[pa.RecordBatch], directory: Path) -> pa.Table:
    """All rows as one table; beyond ``MEMORY_BYTES`` its columns lie in a file in ``directory``."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size > MEMORY_BYTES:
            return _spilled(schema, held, batches, directory)
    return pa.Table.from_batches(held, schema)


def _spilled(
    schema: pa.Schema, held: list[pa.RecordBatch], batches: Iterator[pa.RecordBatch], directory: Path
) -> pa.Table:
    with tempfile.TemporaryFile(dir=directory, buffering=_WRITTEN_AT_ONCE) as file:
        with pa.ipc.new_stream(file, schema) as writer:
            held.reverse()
            while held:  # what is written is let go of
                writer.write_batch(held.pop())
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    with _lock:
        _mapped.add(mapped)
    return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()


def forget_pages() -> None:
    """Take the pages that were read of such files out of this process: what is wanted again is read again."""
    with _lock:
        all_mapped = list(_mapped)
    for mapped in all_mapped:
        mapped.madvise(mmap.MADV_DONTNEED)
