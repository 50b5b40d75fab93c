"""Asking TestGen's Python, with a stand-in that runs the bootstrap in this Python."""

import json
import subprocess
import sys

import pytest

from dqctl.clock import Deadline
from dqctl.errors import TestGenFailed
from dqctl.redaction import register
from dqctl.testgen import driver
from dqctl.testgen.driver import BOOTSTRAP, MARKER, Ended, Failed, ask
from dqctl.testgen.ports import Completed


class Says:
    """A runtime whose process says what the test wants it to say."""

    version = "5.134.0"

    def __init__(self, *lines, exit_code=0, stderr=""):
        self.lines, self.exit_code, self.stderr = lines, exit_code, stderr

    def run(self, argv, *, program="testgen", stdin="", on_line=None, **_):
        self.argv, self.program, self.stdin = argv, program, stdin
        for line in self.lines:
            on_line(line)
        return Completed(self.exit_code, "\n".join(self.lines), self.stderr, 0.1)

    def metadata(self):
        raise AssertionError("nobody needs it")


def said(what, **content):
    return MARKER + json.dumps({"said": what, **content})


def test_answers_come_in_order_and_events_are_heard():
    heard = []
    runtime = Says(
        "TestGen's own chatter",
        said("step", name="a"),
        said("answer", answer={"n": 1}),
        said("answer", answer={"n": 2}),
    )
    answers = ask(
        runtime,
        [{"verb": "provision"}, {"verb": "fingerprint"}],
        deadline=Deadline(5),
        on_event=lambda what, content: heard.append((what, content)),
    )
    assert answers == [{"n": 1}, {"n": 2}]
    assert heard == [("step", {"name": "a"})]
    assert runtime.program == "python"


def test_requests_travel_on_stdin_only():
    runtime = Says(said("answer", answer={}))
    ask(runtime, [{"verb": "provision", "steps": ["a-very-secret-value"]}], deadline=Deadline(5))
    assert "a-very-secret-value" in runtime.stdin
    assert "a-very-secret-value" not in " ".join(runtime.argv)


def test_a_failure_is_told_without_secrets():
    register("sesame-open-1234")
    runtime = Says(said("failure", type="DataError", message="value sesame-open-1234 too long"), exit_code=1)
    with pytest.raises(Failed) as raised:
        ask(runtime, [{"verb": "provision"}], deadline=Deadline(5))
    assert "DataError" in raised.value.message
    assert "sesame-open-1234" not in raised.value.message


def test_a_process_that_ends_without_an_answer_is_told_with_its_last_words():
    runtime = Says(said("answer", answer={}), exit_code=137, stderr="first\nlast words")
    with pytest.raises(Ended) as raised:
        ask(runtime, [{"verb": "provision"}, {"verb": "run"}], deadline=Deadline(5))
    assert "code 137 in the middle of run" in raised.value.message
    assert "last words" in raised.value.hint
    assert isinstance(raised.value, TestGenFailed)


LOADED = "import sys\nprint('{0} is loaded', file=sys.stderr, flush=True)\n"
SOURCES = {
    "defer": "def defer():\n    pass\n",
    "add": LOADED.format("add")
    + "def serve(request, say):\n    say('adding')\n    return sum(request['numbers'])\n",
    "look": "import os\ndef serve(request, say):\n    return os.environ[request['name']]\n",
    "never": "raise ValueError('loaded without need')\n",
}


@pytest.fixture
def program(tmp_path):
    """The program in this Python, with a stand-in for TestGen's models; it is fed line by line."""
    (tmp_path / "testgen" / "common").mkdir(parents=True)
    (tmp_path / "testgen" / "common" / "models.py").write_text("class engine:\n    pass\n")
    process = subprocess.Popen(
        [sys.executable, "-c", BOOTSTRAP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    yield process
    process.kill()
    process.communicate()


def tell(process, content):
    process.stdin.write(json.dumps(content) + "\n")
    process.stdin.flush()


def begin(process, *verbs, modules=()):
    tell(process, driver.source("main"))
    tell(process, {"marker": MARKER, "sources": SOURCES, "verbs": verbs, "modules": list(modules)})


def heard(process, count):
    return [json.loads(process.stdout.readline().removeprefix(MARKER)) for _ in range(count)]


def test_the_program_loads_what_is_expected_before_it_is_asked_and_serves_line_after_line(program):
    begin(program, "add", modules=["colorsys", "no_such_module"])
    assert program.stderr.readline() == "add is loaded\n", "nothing was asked yet"
    tell(program, {"environment": {}, "requests": [{"verb": "add", "numbers": [1, 2]}]})
    assert heard(program, 3) == [{"said": "read"}, {"said": "adding"}, {"said": "answer", "answer": 3}]
    tell(program, {"environment": {"OF_LATER": "x"}, "requests": [{"verb": "look", "name": "OF_LATER"}]})
    assert heard(program, 2) == [{"said": "read"}, {"said": "answer", "answer": "x"}]
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.wait(60) == 0, "a line with nothing in it is the end, while stdin is open"


def test_the_program_ends_with_its_stdin_having_served_all_of_it(program):
    begin(program)
    tell(
        program, {"environment": {}, "requests": [{"verb": "add", "numbers": [1]}, {"verb": "add", "numbers": []}]}
    )
    said = [json.loads(line.removeprefix(MARKER)) for line in program.communicate(timeout=60)[0].splitlines()]
    assert [each["answer"] for each in said if each["said"] == "answer"] == [1, 0]
    assert program.returncode == 0


def test_a_request_that_fails_ends_the_program(program):
    begin(program)
    tell(
        program,
        {"environment": {}, "requests": [{"verb": "add", "numbers": None}, {"verb": "add", "numbers": []}]},
    )
    out, _ = program.communicate(timeout=60)
    last = json.loads(out.splitlines()[-1].removeprefix(MARKER))
    assert (last["said"], last["type"], program.returncode) == ("failure", "TypeError", 1)
