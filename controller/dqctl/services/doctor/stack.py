"""The stack's files: its record, its programs, its secrets; and a file that would lead TestGen astray."""

import shlex
import stat
from datetime import UTC, datetime
from pathlib import Path

from dqctl.runtime import environments, postgres_programs
from dqctl.services.doctor.findings import Finding, check, failed, ok, skipped, warning
from dqctl.services.doctor.subject import Subject
from dqctl.stack import backups, rotation
from dqctl.stack.secrets import LENGTHS, read_secret
from dqctl.testgen.capabilities import KNOWN, capabilities


@check("stack.record")
def record(subject: Subject) -> Finding:
    """What is installed."""
    found = subject.read_record()
    name = subject.settings.stack
    if found is None:
        return skipped(f"stack {name!r} is not installed in {subject.settings.home}", subject.command("install"))
    what = f"TestGen {found.testgen_version} ({found.runtime}), since {found.created:%Y-%m-%d}"
    if not found.installed:
        return warning(
            f"{what}: its installation is not complete, or it was uninstalled", subject.command("install")
        )
    return ok(what)


@check("stack.programs", needs=("stack.record",))
def programs(subject: Subject) -> Finding:
    """TestGen and PostgreSQL of a stack on this machine."""
    found = subject.record
    if found is None:
        return skipped("nothing is installed")
    testgen = environments.environment(subject.paths.environments, found.testgen_version)
    needed = [testgen.python]
    if not found.lakebase:
        needed.append(postgres_programs.location(subject.paths.environments) / "bin" / "postgres")
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        return failed(f"missing: {', '.join(missing)}", subject.command("install"))
    own = "" if found.lakebase else f" and PostgreSQL {found.postgres_version}"
    return ok(f"TestGen {found.testgen_version}{own} {'are' if own else 'is'} in place")


@check("testgen.version", needs=("stack.record",))
def version(subject: Subject) -> Finding:
    """Whether dqctl was tried with this version of TestGen."""
    found = subject.record
    if found is None:
        return skipped("nothing is installed")
    if capabilities(found.testgen_version).known:
        return ok(f"TestGen {found.testgen_version} is a version that dqctl was tried with")
    tried = ", ".join(each.version for each in KNOWN)
    return warning(
        f"TestGen {found.testgen_version} was not tried with this dqctl; known are {tried}",
        f"dqctl --stack ANOTHER install --version {KNOWN[0].version}",
    )


@check("secrets.files", needs=("stack.record",))
def secrets(subject: Subject) -> Finding:
    """Whether all secrets are there, whole."""
    for name in LENGTHS:
        read_secret(subject.paths, name)
    return ok(f"{len(LENGTHS)} secrets in {subject.paths.secrets}")


@check("secrets.rotation", needs=("stack.record",))
def interrupted_rotation(subject: Subject) -> Finding:
    """Whether secrets are half exchanged."""
    if not rotation.is_pending(subject.paths):
        return ok("no rotation of secrets is under way")
    return warning(
        "a rotation of secrets is under way, or was interrupted", f"{subject.command('install')} (ends it)"
    )


@check("secrets.permissions", needs=("stack.record",))
def permissions(subject: Subject) -> Finding:
    """Whether nobody else can read them.

    Containers run as somebody else: the files that they mount are readable by all, since nobody gets past the
    directory that those are in.
    """
    private, mounted = subject.paths.secrets, subject.paths.mounted
    wide = [path for path in (private, mounted) if path.exists() and _mode(path) & 0o077]
    wide += [path for path in sorted(private.iterdir()) if path.is_file() and _mode(path) & 0o077]
    wide += [path for path in sorted(mounted.rglob("*")) if path.is_file() and _mode(path) & 0o022]
    if not wide:
        return ok(f"{private} is {_mode(private):04o}, its files are for their owner alone")
    named = "; ".join(f"{path} is {_mode(path):04o}" for path in wide[:3])
    more = f" and {len(wide) - 3} more" if len(wide) > 3 else ""
    return failed(
        named + more, f"{_narrow(wide, mounted)}; if others could log in here, renew what they could read"
    )


def _narrow(wide: list[Path], mounted: Path) -> str:
    what = "go-w" if all(mounted in path.parents for path in wide) else "go-rwx"
    return shlex.join(["chmod", what, *map(str, wide)])


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@check("stack.backup", needs=("stack.record",))
def backup(subject: Subject) -> Finding:
    """The newest backup, by its files: whether it is good, only ``backup verify`` tells."""
    if subject.record is None:
        return skipped("nothing is installed")
    if damaged := backups.damaged(subject.paths):
        return warning(
            f"the manifest of {', '.join(damaged)} in {subject.paths.backups} cannot be read",
            f"rm -r {shlex.quote(str(subject.paths.backups / damaged[0]))}, if there is no copy of its manifest",
        )
    found = backups.listed(subject.paths)
    if not found:
        return skipped("no backup was made yet", subject.command("backup create"))
    newest = found[0].manifest
    days = (datetime.now(UTC) - newest.created).total_seconds() / 86_400
    verified = f"verified {newest.verified:%Y-%m-%d}" if newest.verified else "not verified"
    return ok(f"{len(found)} backups, the newest is {newest.id}, {days:.1f} days old, {verified}")


@check("testgen.config_env")
def config_env(subject: Subject) -> Finding:
    """TestGen's own configuration in the home, which every ``testgen`` without ``TG_TESTGEN_HOME`` reads."""
    del subject
    path = Path("~/.testgen/config.env").expanduser()
    try:
        names = [line.partition("=")[0].strip() for line in path.read_text(errors="replace").splitlines()]
    except OSError:
        return ok(f"there is no {path}")
    switch = " TG_STANDALONE_MODE, which leads to another database, is among them." * (
        "TG_STANDALONE_MODE" in names
    )
    return warning(
        f"{path} sets {sum(map(bool, names))} variables for a testgen that is started by hand.{switch} "
        "dqctl does not read it",
        f"mv {path} {path}.off",
    )


LOCAL_CHECKS = (programs,)
CHECKS = (record, version, secrets, interrupted_rotation, permissions, backup, config_env)
