"""Whether a process lives, told from whoever has its number later."""

import os
import subprocess
import sys

import pytest

from dqctl.services.ci.owner import Owner


def test_this_process_lives_and_is_found_again_by_its_label() -> None:
    own = Owner.here()
    assert own.pid == os.getpid()
    assert not own.is_dead
    assert Owner.read(own.label) == own


def test_an_ended_process_is_dead_before_and_after_it_is_reaped() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner.of(process.pid)
    assert owner
    assert not owner.is_dead
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_dead
    process.communicate()
    assert owner.is_dead


def test_whoever_has_the_number_now_is_somebody_else() -> None:
    assert Owner.here().model_copy(update={"started": 1}).is_dead


def test_of_what_cannot_be_seen_nobody_knows() -> None:
    other = {"pid": 2**22 + 1}
    assert Owner.here().model_copy(update=other).is_dead
    assert not Owner.here().model_copy(update={**other, "namespace": "pid:[1]"}).is_dead
    assert not Owner.here().model_copy(update={**other, "boot": "x", "host": "elsewhere.invalid"}).is_dead


def test_who_ran_before_this_machine_was_started_is_dead() -> None:
    assert Owner.here().model_copy(update={"boot": "another"}).is_dead


@pytest.mark.parametrize("label", ["", "a/b/c/d/e", "a/b/c/1", "a/b/c/1/2/3", "a/b/c/-1/2"])
def test_a_label_of_somebody_else_names_nobody(label: str) -> None:
    assert Owner.read(label) is None
