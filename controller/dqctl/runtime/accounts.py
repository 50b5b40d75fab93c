"""The OS account that PostgreSQL runs as, and whether it can reach its directories.

PostgreSQL refuses to run as root. As root dqctl lets it run as an account that exists (never making one); as
anybody else it runs as oneself.
"""

import os
import pwd
import stat
from pathlib import Path

from dqctl.errors import EnvironmentFault, UsageError

_CANDIDATES = ("postgres", "nobody")
_TRAVERSE = 0o011  # pass through, without seeing what is there


def choose_account(wanted: str | None) -> str | None:
    """The account to become, None for oneself. ``wanted`` is the setting ``postgres_account``.

    Raises ``UsageError`` when ``wanted`` cannot be used, ``EnvironmentFault`` when there is no account to use.
    """
    if os.geteuid() != 0:
        if wanted and wanted != pwd.getpwuid(os.geteuid()).pw_name:
            raise UsageError(
                f"PostgreSQL cannot run as {wanted}: only root can choose an account",
                "leave DQCTL_POSTGRES_ACCOUNT unset, or run dqctl as root",
            )
        return None
    for name in (wanted,) if wanted else _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            raise UsageError("PostgreSQL refuses to run as root", "set DQCTL_POSTGRES_ACCOUNT to another account")
        return name
    if wanted:
        raise UsageError(f"there is no account {wanted!r}", "set DQCTL_POSTGRES_ACCOUNT to one that exists")
    raise EnvironmentFault(
        "PostgreSQL refuses to run as root, and neither postgres nor nobody is an account here",
        "set DQCTL_POSTGRES_ACCOUNT to an account that exists, or run dqctl as a plain user",
    )


def owner_account(path: Path) -> str | None:
    """The account that owns ``path``, None when that is oneself."""
    owner = path.stat().st_uid
    if owner == os.geteuid():
        return None
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        raise EnvironmentFault(
            f"{path} belongs to the user number {owner}, which is no account here",
            "give the directory to an account that exists (chown -R)",
        ) from None


def give(path: Path, account: str | None) -> None:
    """Let ``account`` own ``path``; nothing to do when it is oneself."""
    if account:
        entry = pwd.getpwnam(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def open_way(home: Path, target: Path) -> None:
    """Let other accounts pass through ``home`` and what is between it and ``target``, without looking around."""
    for directory in (home, *(parent for parent in target.parents if home in parent.parents)):
        mode = stat.S_IMODE(directory.stat().st_mode)
        if mode & _TRAVERSE != _TRAVERSE:
            directory.chmod(mode | _TRAVERSE)


def require_way(target: Path, account: str | None) -> None:
    """``EnvironmentFault`` that names the first directory above ``target`` that ``account`` cannot pass."""
    if account is None:
        return
    entry = pwd.getpwnam(account)
    groups = os.getgrouplist(account, entry.pw_gid)
    for directory in reversed(target.resolve().parents):
        if not _may_pass(directory.stat(), entry.pw_uid, groups):
            raise EnvironmentFault(
                f"{account}, the account that PostgreSQL runs as, cannot pass through {directory}",
                "choose a place that it can reach with DQCTL_HOME (root's default is /var/lib/dqctl), "
                "or run dqctl as a plain user",
            )


def _may_pass(status: os.stat_result, user: int, groups: list[int]) -> bool:
    if status.st_uid == user:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
