import threading
import time
from pathlib import Path

import pytest

from dqctl.errors import UsageError
from dqctl.services.logs import LogLine, find_sources, read
from dqctl.services.logs.sources import FileSource
from dqctl.settings import load


def source(*files: Path) -> FileSource:
    return FileSource("x", lambda: files)


def texts(*sources: FileSource, lines: int | None = None) -> list[str]:
    return [line.text for line in read(sources, lines=lines)]


def test_files_of_a_source_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("2026-01-01 00:00:01 UTC a\nbelongs to a\n2026-01-01 00:00:03 UTC c\n")
    two.write_text("2026-01-01 00:00:02 UTC b\n")
    assert [text[-1] for text in texts(source(one, two))] == ["a", "a", "b", "c"]
    assert [text[-1] for text in texts(source(one, two), lines=2)] == ["b", "c"]


def test_bytes_that_are_no_text_and_a_last_line_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe broken\r\nlast")
    assert texts(source(tmp_path / "log")) == ["\ufffd\ufffd broken", "last"]


def test_a_file_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    assert texts(source(tmp_path / "gone")) == []


def test_what_is_followed_is_said_once_and_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    followed = source(log)
    assert texts(followed) == ["old"]
    heard: list[LogLine] = []
    over = threading.Event()
    thread = threading.Thread(target=followed.follow, args=(heard.append, over))
    thread.start()
    with log.open("a") as file:
        for piece in ("one\n", "tw", "o\n"):
            file.write(piece)
            file.flush()
            time.sleep(0.35)
    log.write_text("anew\n")  # shorter than before: truncated and begun again
    end = time.monotonic() + 10
    while len(heard) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    over.set()
    thread.join(10)
    assert [line.text for line in heard] == ["one", "two", "anew"]


def test_an_uninstalled_stack_still_has_logs(tmp_path: Path) -> None:
    settings = load({"home": tmp_path}, {})
    with pytest.raises(UsageError, match="not installed"):
        find_sources(settings)
    (tmp_path / "stacks" / "default" / "logs").mkdir(parents=True)
    assert [each.name for each in find_sources(settings)] == ["testgen", "install", "postgres"]
    with pytest.raises(UsageError, match="no service 'engine'"):
        find_sources(settings, ["engine"])
