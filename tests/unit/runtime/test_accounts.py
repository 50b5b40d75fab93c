import os
import pwd
import stat
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.runtime.accounts import choose_account, give, open_way, owner_account, require_way

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
needs_plain_user = pytest.mark.skipif(os.geteuid() == 0, reason="root has a choice of accounts")


@needs_root
def test_root_takes_postgres_if_it_exists_else_nobody() -> None:
    names = {entry.pw_name for entry in pwd.getpwall()}
    assert choose_account(None) == ("postgres" if "postgres" in names else "nobody")


@needs_root
def test_the_setting_decides() -> None:
    assert choose_account("nobody") == "nobody"


@needs_root
@pytest.mark.parametrize(("name", "why"), [("root", "refuses to run as root"), ("no-such-account", "no account")])
def test_an_account_that_cannot_be_used_is_refused(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        choose_account(name)


@needs_plain_user
def test_a_plain_user_runs_it_as_oneself() -> None:
    assert choose_account(None) is None
    assert choose_account(pwd.getpwuid(os.geteuid()).pw_name) is None
    with pytest.raises(UsageError, match="only root"):
        choose_account("nobody")


@needs_root
def test_the_owner_of_a_cluster_is_the_account_that_runs_it(tmp_path: Path) -> None:
    assert owner_account(tmp_path) is None
    give(tmp_path, "nobody")
    assert owner_account(tmp_path) == "nobody"
    os.chown(tmp_path, 64999, 64999)
    with pytest.raises(EnvironmentFault, match="64999"):
        owner_account(tmp_path)


@needs_root
def test_a_closed_directory_on_the_way_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    target = closed / "a" / "b"
    target.mkdir(parents=True)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o011)
    closed.chmod(0o700)
    with pytest.raises(EnvironmentFault, match=f"nobody.*pass through {closed}$") as raised:
        require_way(target, "nobody")
    assert "DQCTL_HOME" in raised.value.hint
    closed.chmod(0o711)
    require_way(target, "nobody")
    closed.chmod(0o700)
    give(closed, "nobody")
    require_way(target, "nobody")
    require_way(target, None)


def test_opening_the_way_lets_pass_and_shows_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    target = home / "stacks" / "default" / "postgres"
    target.mkdir(parents=True)
    for directory in (tmp_path, home, home / "stacks", target.parent, target):
        directory.chmod(0o700)
    open_way(home, target)
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, home, home / "stacks", target.parent, target)
    ]
    assert modes == [0o700, 0o711, 0o711, 0o711, 0o700]
