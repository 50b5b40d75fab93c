"""TestGen's Python that stands by: asked when it is there, replaced when it is not, and gone with who started it.

A program of a few lines stands in for it; runtimes start it as they start TestGen's.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.testgen import standby
from dqctl.testgen.driver import MARKER, Ended, ask

# Says who it is; then each line of stdin is code.
PROGRAM = f"""
import json, os, sys, time
def say(what, **content):
    print({MARKER!r} + json.dumps({{"said": what, **content}}), flush=True)
def answer():
    say("read"); say("answer", answer={{"pid": os.getpid()}})
for line in sys.stdin:
    asked = json.loads(line) if line.strip() else sys.exit(0)
    exec(asked["requests"][0]["verb"] if isinstance(asked, dict) else asked)
"""
ARGV = ("-c", PROGRAM)


class Local:
    """A runtime that starts the program, and counts how often for a call of ``ask`` alone."""

    version = "5.134.0"

    def __init__(self) -> None:
        self.configuration = "as it was"
        self.alone = 0

    def variables(self, on_top):
        return on_top

    def run(self, argv, *, program, stdin, deadline, on_line, **_):
        assert program == "python"
        if isinstance(stdin, str):
            self.alone += 1
            on_line(MARKER + json.dumps({"said": "answer", "answer": {"pid": None}}))
            return processes.Completed(0, "", "", 0.0)
        return processes.run(
            [sys.executable, *argv], deadline=deadline, stdin=stdin, environment={}, on_line=on_line
        )


def asked(runtime, verb="answer()", seconds=60.0):
    (answer,) = ask(runtime, [{"verb": verb}], deadline=Deadline(seconds))
    return answer["pid"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def verbs_are_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqctl.testgen.driver.source", lambda name: name)


def test_one_process_answers_all_calls_and_ends_with_the_block():
    runtime = Local()
    with standby.expected(Deadline(60)):
        standby.begin(runtime, ARGV, "")
        first = asked(runtime)
        with standby.expected(Deadline(60)):
            standby.begin(runtime, ARGV, "")
            assert asked(runtime) == first
        assert asked(runtime) == first, "an inner block ends nothing"
    wait_until_gone(first)
    assert asked(runtime) is None, "nobody stands by now"
    assert runtime.alone == 1


def test_nobody_stands_by_where_nobody_expects_it():
    runtime = Local()
    standby.begin(runtime, ARGV, "")
    assert asked(runtime) is None


def test_threads_beside_have_processes_of_their_own():
    runtime = Local()
    found = []
    with standby.expected(Deadline(60)):
        standby.begin(runtime, ARGV, "")
        thread = threading.Thread(target=lambda: found.append(asked(runtime)))
        thread.start()
        thread.join()
    assert found == [None]


def test_another_configuration_is_nothing_for_who_was_started_before():
    runtime = Local()
    with standby.expected(Deadline(60)):
        standby.begin(runtime, ARGV, "")
        old = asked(runtime)
        runtime.configuration = "another port"
        assert asked(runtime) is None
        standby.begin(runtime, ARGV, "")
        wait_until_gone(old)
        assert asked(runtime) not in (None, old)


@pytest.mark.parametrize("when", ["before it is asked", "as it is asked"])
def test_who_died_without_reading_the_question_is_replaced(when):
    runtime = Local()
    with standby.expected(Deadline(60)):
        standby.begin(runtime, ARGV, "")
        pid = asked(runtime)
        if when == "before it is asked":
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid)
        assert asked(runtime, "os._exit(9)" if when == "as it is asked" else "answer()") is None
        assert asked(runtime) is None
    assert runtime.alone == 2


def test_who_died_at_work_is_an_error_and_nothing_is_done_twice():
    runtime = Local()
    with standby.expected(Deadline(60)):
        standby.begin(runtime, ARGV, "")
        with pytest.raises(Ended) as raised:
            asked(runtime, "say('read'); print('last words', file=sys.stderr); sys.exit(9)")
        assert raised.value.code == 9
        assert "last words" in raised.value.hint
        assert runtime.alone == 0
        assert asked(runtime) is None


def test_a_deadline_stops_the_process():
    runtime = Local()
    with standby.expected(Deadline(60)):
        standby.begin(runtime, ARGV, "")
        pid = asked(runtime)
        with pytest.raises(EnvironmentFault, match="did not finish within 1 s"):
            asked(runtime, "say('read'); time.sleep(600)", seconds=1.0)
        assert not is_running(pid)


def test_an_error_in_the_block_stops_the_process_before_anything_else_happens():
    runtime = Local()
    pids = []

    def fail() -> None:
        with standby.expected(Deadline(60)):
            standby.begin(runtime, ARGV, "")
            pids.append(asked(runtime))
            raise KeyError

    with standby.expected(Deadline(60)):
        with pytest.raises(KeyError):
            fail()
        assert not is_running(pids[0])


KILLED = """
import sys, time
sys.path[:0] = {path!r}
from test_standby import ARGV, Local, asked
from dqctl.clock import Deadline
from dqctl.testgen import driver, standby
driver.source = lambda name: name
with standby.expected(Deadline(60)):
    runtime = Local()
    standby.begin(runtime, ARGV, "")
    print(asked(runtime), flush=True)
    time.sleep(600)
"""


def test_killed_outright_dqctl_takes_it_along():
    source = KILLED.format(path=[str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout as said:
        pid = int(said.readline())
    assert is_running(pid)
    process.kill()
    process.wait()
    wait_until_gone(pid)
