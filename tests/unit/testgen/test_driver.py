"""Asking TestGen's Python, with a stand-in that runs the bootstrap in this Python."""

import json
import subprocess
import sys

import pytest

from dqctl.clock import Deadline
from dqctl.errors import TestGenFailed
from dqctl.redaction import register
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


def test_the_bootstrap_hands_the_package_to_the_program():
    package = {
        "sources": {"main": "def main(package):\n    print(package['requests'])\n    return 7\n"},
        "requests": [1],
    }
    done = subprocess.run(
        [sys.executable, "-c", BOOTSTRAP], input=json.dumps(package), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (7, "[1]\n")
