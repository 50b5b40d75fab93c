"""A metadata database that is made from SQL: as TestGen's set-up makes it, and with no secret of another stack."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import metadata_template, open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.metadata_template import Template
from dqctl.services.install import install
from dqctl.settings import load
from dqctl.stack.secrets import LENGTHS, read_secret
from testgen_python import run_in_testgen

pytestmark = pytest.mark.local

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NIL = "00000000-0000-0000-0000-000000000000"
HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
# When the set-up was; how long ago the first user was asked for an opinion (5.92.2 and newer).
MOMENT = re.compile(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00(?::00)?)?")

# TestGen's own code says whom it lets in.
LETS_IN = """
import json, sys
from sqlalchemy import text
from testgen.common.auth import verify_password
from testgen.common.models import database_session
with database_session() as session:
    hashed = session.execute(text("SELECT password FROM auth_users WHERE username = 'admin'")).scalar()
print(json.dumps([verify_password(each, hashed) for each in json.load(sys.stdin)]))
"""
ROLES = """
    SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolconnlimit,
           r.rolvaliduntil, a.rolpassword IS NOT NULL, r.rolconfig,
           array(SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid)
    FROM pg_roles r JOIN pg_authid a USING (oid) WHERE r.rolname LIKE 'testgen%' ORDER BY 1
"""
DATABASE = """
    SELECT encoding, datcollate, datctype, datallowconn, datconnlimit, datacl, datdba::regrole::text
    FROM pg_database WHERE datname = 'datakitchen'
"""


def installed(home: Path, stack: str, version: str) -> tuple[LocalRuntime, list[str]]:
    """A stack, and what its install said."""
    said: list[str] = []
    settings = load({"home": home, "stack": stack}, {})
    install(settings, version=version, progress=said.append)
    runtime = open_runtime(settings, silent)
    assert isinstance(runtime, LocalRuntime)
    return runtime, said


def is_set_up(said: list[str]) -> bool:
    """Whether TestGen itself set the database up."""
    return any("setting up TestGen's metadata" in line for line in said)


def dump(runtime: LocalRuntime, database: str = "datakitchen") -> str:
    done = runtime.database_program(["pg_dump", "--inserts", f"--dbname={database}"], deadline=Deadline(60))
    assert done.exit_code == 0, done.stderr
    return re.sub(r"^\\(un)?restrict .*\n", "", done.stdout, flags=re.MULTILINE)


def dump_of_copy(runtime: LocalRuntime, dumped: str) -> str:
    """The dump of a database that psql made of a dump: views and checks are spelled out in another way then."""
    with runtime.postgres.connect("postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE copied")
    argv = ["psql", "--quiet", "-v", "ON_ERROR_STOP=1", "--dbname=copied"]
    done = runtime.database_program(argv, stdin=dumped, deadline=Deadline(60))
    assert done.exit_code == 0, done.stderr
    return dump(runtime, "copied")


def without_own(text: str) -> str:
    """A dump without ids, times and the hash, which are different each time; ids stay apart from each other."""
    ids: dict[str, str] = {NIL: NIL}
    text = UUID.sub(lambda found: ids.setdefault(found[0], f"id {len(ids)}"), text)
    return HASH.sub("hash", MOMENT.sub("moment", text))


def server_of(runtime: LocalRuntime) -> list[object]:
    with runtime.postgres.connect("postgres") as connection:
        return [connection.execute(query).fetchall() for query in (ROLES, DATABASE)]


def secrets_of(runtime: LocalRuntime) -> dict[str, str]:
    return {name: read_secret(runtime.paths, name).get_secret_value() for name in LENGTHS}


def rows_in(text: str) -> list[str]:
    return same_lines(text[text.index("\nINSERT ") : text.rindex("\nINSERT ")])


def same_lines(text: str) -> list[str]:
    """Rows of one table come in the order in which they lie in it."""
    return sorted(text.splitlines())


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", ["5.134.0", "5.92.2", "5.33.3"])
def test_it_is_what_a_set_up_makes_and_no_secret_goes_from_one_stack_to_another(
    unprepared_home: Path, version: str, install_version: Callable[[str], Path]
) -> None:
    install_version(version)
    programs = unprepared_home / "environments" / f"testgen-{version}"
    if not programs.exists():
        programs.symlink_to(install_version(version) / programs.name)
    first, said = installed(unprepared_home, "first", version)
    assert is_set_up(said)
    second, said = installed(unprepared_home, "second", version)
    assert not is_set_up(said)
    by_testgen, by_template = dump(first), dump(second)
    assert len(by_testgen) > 500_000
    assert same_lines(without_own(dump_of_copy(first, by_testgen))) == same_lines(without_own(by_template))
    assert rows_in(without_own(by_testgen)) == rows_in(without_own(by_template))
    assert set(UUID.findall(by_testgen)) & set(UUID.findall(by_template)) <= {NIL}
    assert server_of(first) == server_of(second)

    ours, theirs = secrets_of(first), secrets_of(second)
    (template,) = metadata_template.directory(first.paths, version).iterdir()
    kept = template.read_text()
    assert not HASH.search(kept)
    for content in (kept, by_testgen, by_template):
        assert not [name for name, value in (*ours.items(), *theirs.items()) if value in content]
    passwords = [theirs["testgen_password"], ours["testgen_password"]]
    assert json.loads(run_in_testgen(second, LETS_IN, passwords)) == [True, False]
    for runtime in (first, second):
        runtime.down()


@pytest.fixture(scope="module")
def stack(installed_stack: object) -> LocalRuntime:
    runtime = open_runtime(installed_stack, silent)  # type: ignore[arg-type]
    assert isinstance(runtime, LocalRuntime)
    return runtime


@pytest.fixture
def template(stack: LocalRuntime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Template:
    """The stack's template, in a place where it may be broken."""
    found = Template(stack, "a test", silent)
    monkeypatch.setattr(metadata_template, "directory", lambda _, version: tmp_path / version)
    found.keep("datakitchen")
    assert found.path.is_relative_to(tmp_path)
    return found


def databases(runtime: LocalRuntime) -> set[str]:
    with runtime.postgres.connect("postgres") as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


def test_what_is_damaged_cut_off_or_of_another_testgen_is_not_taken(
    stack: LocalRuntime, template: Template, tmp_path: Path
) -> None:
    good = template.path.read_bytes()
    middle = len(good) // 2
    other = Template(stack, "another test", silent)
    other.path.write_bytes(good)
    assert not other.restore(stack.postgres, "probe", 235)
    for bad in (good[:-1], good[:middle], b"", good[:middle] + b"'" + good[middle + 1 :], b"\xff" + good):
        template.path.write_bytes(bad)
        assert not template.restore(stack.postgres, "probe", 235)
    template.path.unlink()
    assert not template.restore(stack.postgres, "probe", 235)
    template.path.mkdir()
    assert not template.restore(stack.postgres, "probe", 235)
    assert "probe" not in databases(stack)


def test_what_does_not_become_the_wanted_database_is_taken_away_again(
    stack: LocalRuntime, template: Template
) -> None:
    assert not template.restore(stack.postgres, "probe", 236), "it is of another schema revision"
    assert "probe" not in databases(stack)
    assert not template.path.exists()
    template.keep("datakitchen")
    assert template.restore(stack.postgres, "probe", 235)
    with stack.postgres.connect("postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE probe")


def test_what_holds_a_secret_is_not_kept(stack: LocalRuntime, template: Template) -> None:
    template.path.unlink()
    with stack.metadata() as connection:
        connection.execute("UPDATE projects SET observability_api_key = %s", [secrets_of(stack)["jwt_key"]])
    try:
        template.keep("datakitchen")
        assert not template.path.exists()
    finally:
        with stack.metadata() as connection:
            connection.execute("UPDATE projects SET observability_api_key = ''")
    template.keep("no_such_database")
    assert not template.path.exists()
    template.keep("datakitchen")
    assert template.path.exists()


def test_of_one_version_only_the_newest_are_kept(stack: LocalRuntime, template: Template) -> None:
    for number in range(6):
        Template(stack, f"build {number}", silent).keep("datakitchen")
    kept = set(template.path.parent.iterdir())
    assert kept == {Template(stack, f"build {number}", silent).path for number in range(2, 6)}
