import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dqctl.errors import Busy, UsageError
from dqctl.redaction import register
from dqctl.stack import calls
from dqctl.stack.calls import Call
from dqctl.stack.paths import StackPaths

ID = "3f7ca81d-5e06-447e-8808-15f081d17073"
CALL = Call(ID, "list-tests", ("-v", "list-tests", "-ts", "größe"), datetime(2026, 1, 2, tzinfo=UTC), "5.134.0")


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    return StackPaths(tmp_path, "default")


def test_a_call_comes_back_as_it_was_kept_until_it_is_dropped(paths: StackPaths) -> None:
    content = b'a,b\r\n"x\r\n",\xc3\xa9\r\n'
    path = calls.keep(paths, CALL, content)
    assert path.read_bytes() == content
    assert calls.read_kept(paths, ID) == (CALL, content)
    assert calls.read_kept(paths, ID.upper()) == (CALL, content)
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path.parent.parent)} == {0o700}
    calls.drop(paths, ID)
    calls.drop(paths, ID)
    with pytest.raises(UsageError, match=f"no call {ID}"):
        calls.read_kept(paths, ID)


def test_those_that_wait_are_told_the_oldest_first_without_those_that_are_not_whole(
    paths: StackPaths,
) -> None:
    assert calls.kept(paths) == ()
    younger = replace(CALL, call_id="0" + ID[1:], ran_at=CALL.ran_at + timedelta(seconds=1))
    calls.keep(paths, younger, b"")
    calls.keep(paths, CALL, b"")
    calls.keep_unreadable(paths, replace(CALL, call_id="1" + ID[1:]), b"")
    (paths.root / "calls" / "what-is-this").mkdir()
    (paths.root / "calls" / "what-is-this" / "call.json").write_text("{")
    assert calls.kept(paths) == (ID, younger.call_id)


def test_a_call_is_held_by_one_alone_and_may_be_dropped_meanwhile(paths: StackPaths) -> None:
    with calls.held(paths, ID):
        calls.keep(paths, CALL, b"")
        with pytest.raises(Busy, match=ID), calls.held(paths, ID):
            pass
        assert calls.kept(paths) == (ID,)
        calls.drop(paths, ID)
    assert not calls.directory(paths, ID).exists()
    with calls.held(paths, ID):
        pass


def test_bytes_that_nobody_could_read_are_kept_without_secrets_and_never_published(paths: StackPaths) -> None:
    register("planted-in-the-bytes")
    path = calls.keep_unreadable(paths, CALL, b"\xff\xfeplanted-in-the-bytes\r\n")
    assert path.read_bytes() == b"\xff\xfe********\r\n"
    with pytest.raises(UsageError):
        calls.read_kept(paths, ID)


@pytest.mark.parametrize("call", ["", "..", "../../secrets", f"{ID}/../x"])
def test_a_name_that_is_no_id_leads_nowhere(paths: StackPaths, call: str) -> None:
    with pytest.raises(UsageError):
        calls.read_kept(paths, call)
