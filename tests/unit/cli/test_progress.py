import contextlib
import io
import os

import pytest

from dqctl.cli.progress import Display
from dqctl.redaction import register


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_every_step_is_a_line() -> None:
    stream = io.StringIO()
    display = Display(stream)
    display.show("profiling [bold]flights[/bold]")
    display.show("publishing")
    display.close()
    assert stream.getvalue() == "profiling [bold]flights[/bold]\npublishing\n"


def test_steps_show_no_secret() -> None:
    register("a-secret-that-was-unwrapped")
    stream = io.StringIO()
    Display(stream).show("refused: a-secret-that-was-unwrapped")
    assert "a-secret" not in stream.getvalue()


def test_a_reader_of_progress_who_leaves_does_not_stop_the_work() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    display = Display(stream)
    display.show("before")
    os.close(reading)
    display.show("after")
    display.close()
    with contextlib.suppress(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_that_is_closed_does_not_stop_the_work(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", term)
    ours, theirs = os.openpty()
    stream = os.fdopen(theirs, "w", buffering=1)
    display = Display(stream)
    display.show("before")
    os.close(ours)
    with pytest.raises(OSError, match="Input/output"):
        os.write(theirs, b"nobody")
    display.show("after")
    display.close()
    with contextlib.suppress(OSError):
        stream.close()


def test_a_terminal_has_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    display = Display(stream)
    display.show("profiling [bold]flights[/bold]")
    display.close()
    display.close()
    said = stream.getvalue()
    assert "[bold]flights[/bold]" in said
    assert said.endswith("\x1b[2K")  # the line is cleared
