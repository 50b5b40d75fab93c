import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from dqctl.localworkspace import overflow

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])
ROWS = 20_000


def batches(count: int) -> Iterator[pa.RecordBatch]:
    for number in range(count):
        numbers = range(number * ROWS, (number + 1) * ROWS)
        yield pa.record_batch([pa.array(numbers), pa.array([f"row {one:090}" for one in numbers])], schema=SCHEMA)


def mapped_files() -> list[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if "(deleted)" in line and "/overflow-here/" in line]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "overflow-here"
    made.mkdir()
    return made


def test_a_small_result_stays_in_memory(directory: Path) -> None:
    table = overflow.collected(SCHEMA, batches(2), directory)
    assert table.num_rows == 2 * ROWS
    assert mapped_files() == []


def test_a_result_without_rows_has_its_columns(directory: Path) -> None:
    assert overflow.collected(SCHEMA, iter(()), directory).schema == SCHEMA


def test_a_large_result_has_every_row_in_order_and_lies_in_a_file_without_a_name(directory: Path) -> None:
    before = pa.total_allocated_bytes()
    table = overflow.collected(SCHEMA, batches(25), directory)
    assert table.nbytes > overflow.MEMORY_BYTES
    assert pa.total_allocated_bytes() - before < overflow.MEMORY_BYTES
    assert list(directory.iterdir()) == []
    assert mapped_files()
    assert table.column("n").to_pylist() == list(range(25 * ROWS))
    overflow.forget_pages()
    assert table.column("text")[-1].as_py() == f"row {25 * ROWS - 1:090}"


def test_the_file_goes_with_the_last_table_that_refers_to_it(directory: Path) -> None:
    table = overflow.collected(SCHEMA, batches(25), directory)
    part = table.slice(ROWS * 24, 1)
    del table
    gc.collect()
    assert part.column("n").to_pylist() == [ROWS * 24]
    assert mapped_files()
    del part
    gc.collect()
    assert mapped_files() == []


def test_pages_that_were_read_can_be_forgotten(directory: Path) -> None:
    table = overflow.collected(SCHEMA, batches(25), directory)
    assert sum(len(text) for text in table.column("text").to_pylist()) == 94 * 25 * ROWS

    def resident() -> int:
        counted, found = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if line.split("-")[0].isalnum() and "-" in line.split(" ")[0]:
                found = "/overflow-here/" in line
            elif found and line.startswith("Rss:"):
                counted += int(line.split()[1]) * 1024
        return counted

    assert resident() > overflow.MEMORY_BYTES
    overflow.forget_pages()
    assert resident() < overflow.MEMORY_BYTES / 8


def test_an_error_of_the_engine_leaves_nothing_behind(directory: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(20)
        raise ValueError("divided by zero")

    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ValueError, match="divided by zero"):
        overflow.collected(SCHEMA, broken(), directory)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    assert mapped_files() == []


def test_many_results_can_come_and_go_at_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "MEMORY_BYTES", 1)

    def come_and_go(number: int) -> int:
        found = 0
        for _ in range(30):
            table = overflow.collected(SCHEMA, batches(1), directory)
            overflow.forget_pages()
            found += table.column("n")[number].as_py()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(come_and_go, range(8))) == [30 * number for number in range(8)]
