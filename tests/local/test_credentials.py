"""Rotating the secrets of a real stack: connections keep theirs; whatever is killed, one set of secrets counts."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from command_line import CommandLine, run_program
from dqctl.clock import Deadline
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.ports import MetadataServer
from dqctl.services import systems
from dqctl.services.apply import apply
from dqctl.services.credentials import read, rotate, secrets_of
from dqctl.settings import Settings, load
from dqctl.stack import lock, rotation
from dqctl.stack.secrets import LENGTHS, read_secret
from dqctl.testgen import encrypted, jobs
from dqctl.testgen.jobs import JobKind, JobRequest
from target_database import PASSWORD, Target
from testgen_python import run_in_testgen

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

# What a rotation of everything says, in its order: as many moments to be killed in.
STEPS = (
    "stored values anew",
    "the new secrets are written down",
    "the database takes them",
    "the database has taken them",
    *(f"{name} is replaced" for name in LENGTHS),
    "the configuration is written",
)
# Changes when a process is killed from outside; printed, so that a failure can be repeated.
SEED = int(os.environ.get("DQCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))
TAKEN = STEPS.index("the database has taken them")

# A process of its own, which kills itself in the moment in which it says what it is told.
ROTATE = """
import os, signal, sys
from pathlib import Path
from dqctl.services.credentials import rotate
from dqctl.settings import load
from dqctl.stack.secrets import LENGTHS

home, moment = sys.argv[1:]

def progress(message):
    print(message, flush=True)
    if moment in message:
        os.kill(os.getpid(), signal.SIGKILL)

rotate(load({"home": Path(home)}, {}), list(LENGTHS), progress=progress)
"""

PROFILE = """
import sys
from pathlib import Path
from uuid import UUID
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.settings import load
from dqctl.testgen import jobs

home, group = sys.argv[1:]
runtime = open_runtime(load({"home": Path(home)}, {}), silent)
with runtime.metadata() as connection, jobs.exclusive(connection, 0, "profiling in a test"):
    jobs.run(runtime, jobs.JobRequest(jobs.JobKind.PROFILE, UUID(group)), deadline=Deadline(200), progress=print)
"""

# TestGen's own code, in its own Python.
LOOK = """
import json, sys
from sqlalchemy import select, text
from testgen.common.auth import verify_password
from testgen.common.models import database_session
from testgen.common.models.connection import Connection
names, passwords = json.load(sys.stdin)
with database_session() as session:
    hashed = session.execute(text("SELECT password FROM auth_users WHERE username = 'admin'")).scalar()
    stored = [{n: getattr(c, n) for n in names} for c in session.scalars(select(Connection))]
print(json.dumps([stored, [verify_password(each, hashed) for each in passwords]]))
"""
ENCRYPTED_COLUMNS = """
import importlib, json, pkgutil
import testgen.common.models as models
from testgen.common.models.custom_types import EncryptedBytea
for module in pkgutil.iter_modules(models.__path__):
    importlib.import_module(f"testgen.common.models.{module.name}")
print(json.dumps(sorted(
    [table.name, column.name]
    for table in models.Base.metadata.tables.values() for column in table.columns
    if isinstance(column.type, EncryptedBytea)
)))
"""
STORE = """
import json, sys
from sqlalchemy import update
from testgen.common.models import database_session
from testgen.common.models.connection import Connection
with database_session() as session:
    session.execute(update(Connection).values(**json.load(sys.stdin)))
"""


def assert_testgen_reads(runtime: LocalRuntime, good: str, *bad: str) -> None:
    """TestGen decrypts what it stores, and lets in who says ``good``, nobody else."""
    stored, lets_in = json.loads(run_in_testgen(runtime, LOOK, [["project_pw_encrypted"], [good, *bad]]))
    assert {each["project_pw_encrypted"] for each in stored} == {PASSWORD}
    assert lets_in == [True, *([False] * len(bad))]


def values_of(runtime: LocalRuntime) -> dict[str, str]:
    return {name: read_secret(runtime.paths, name).get_secret_value() for name in LENGTHS}


def places_of(runtime: LocalRuntime, values: Mapping[str, str]) -> set[tuple[str, str]]:
    """Where below the stack's directory, its logs and its database included, one of the values stands."""
    return {
        (name, str(path.relative_to(runtime.paths.root)))
        for path in runtime.paths.root.rglob("*")
        if path.is_file() and not path.is_symlink()
        for content in [path.read_bytes()]
        for name, value in values.items()
        if value.encode() in content
    }


def assert_the_connection_works(runtime: LocalRuntime, system: str = "shop") -> None:
    group = systems.resolve_system(runtime, system).table_groups[0]
    with runtime.metadata() as held, jobs.exclusive(held, 30, "a test"):
        outcome = jobs.run(runtime, JobRequest(JobKind.PROFILE, group.id), deadline=Deadline(200))
    assert (outcome.status, outcome.error_message) == ("completed", None)


def assert_only_these_count(runtime: LocalRuntime, good: Mapping[str, str], gone: Mapping[str, str]) -> None:
    assert values_of(runtime) == dict(good)
    assert not rotation.is_pending(runtime.paths)
    assert {stat.S_IMODE(path.stat().st_mode) for path in runtime.paths.secrets.iterdir()} == {0o600}
    assert places_of(runtime, gone) == set()
    with pytest.raises(EnvironmentFault, match="password authentication failed"):
        runtime.server(SecretStr(gone["postgres_password"])).connect("postgres")
    runtime.metadata().close()
    assert_testgen_reads(runtime, good["testgen_password"], gone["testgen_password"])


def make(settings: Settings, directory: Path) -> LocalRuntime:
    """The stack with a system on a PostgreSQL, whose password TestGen has to decrypt."""
    runtime = open_runtime(settings, silent)
    assert isinstance(runtime, LocalRuntime)
    target = Target.make(runtime)
    both = target.write_systems(directory, "shop")
    _, _, slow = target.write_systems(directory, "slow", "slow").read_text().partition("systems:\n")
    with both.open("a") as file:
        file.write(slow)
    apply(runtime, both, access=None, environment={"PROBE_PASSWORD": PASSWORD}, deadline=Deadline(120))
    return runtime


@pytest.fixture(scope="module")
def runtime(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> LocalRuntime:
    return make(installed_stack, tmp_path_factory.mktemp("systems"))


def settings_of(runtime: LocalRuntime) -> Settings:
    return load({"home": runtime.paths.home}, {})


def test_after_a_rotation_of_everything_a_job_still_connects_and_nothing_old_is_left(
    runtime: LocalRuntime,
) -> None:
    before = values_of(runtime)
    assert places_of(runtime, before) >= {(name, f"secrets/{name}") for name in LENGTHS}
    said: list[str] = []
    done = rotate(settings_of(runtime), list(LENGTHS), progress=said.append)
    assert (done.secrets, done.values, done.roles) == (tuple(LENGTHS), 2, ("testgen",))
    assert [any(step in message for message in said) for step in STEPS] == [True] * len(STEPS)
    after = values_of(runtime)
    assert not set(before.values()) & set(after.values())
    assert_only_these_count(runtime, after, before)
    assert_the_connection_works(runtime)
    # TestGen's configuration is the one place beside the secrets' own files.
    assert {place for _, place in places_of(runtime, after)} == {
        "secrets/config.env",
        *(f"secrets/{name}" for name in LENGTHS),
    }


# Each file that is replaced is a moment like the others: the first and the last stand for them.
MOMENTS = [step for step in STEPS if step not in [f"{name} is replaced" for name in tuple(LENGTHS)[1:-1]]]


@pytest.mark.thorough(but="the database has taken them")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_any_moment_the_old_or_the_new_secrets_count(runtime: LocalRuntime, moment: str) -> None:
    before = values_of(runtime)
    killed = run_program(ROTATE, runtime.paths.home, moment)
    assert killed.code == -signal.SIGKILL, killed.err
    begun = rotation.pending(runtime.paths)
    assert (begun is None) == (STEPS.index(moment) in (0, len(STEPS))), killed.out
    taken = STEPS.index(moment) >= TAKEN
    # The next command, whichever it is.
    open_runtime(settings_of(runtime), silent)
    new = {name: value.get_secret_value() for name, value in begun.secrets.items()} if begun else {}
    good, gone = (new, before) if taken else (before, new)
    if begun:
        assert_only_these_count(runtime, good, gone)
    else:
        assert_testgen_reads(runtime, before["testgen_password"])
    assert values_of(runtime) == good
    for value in (*before.values(), *new.values()):
        assert value not in killed.everything


@pytest.mark.thorough(but="the new secrets are written down")
@pytest.mark.parametrize("moment", [STEPS[0], *STEPS[TAKEN - 2 : TAKEN + 2]])
def test_interrupted_in_any_moment_it_is_ended_at_once(runtime: LocalRuntime, moment: str) -> None:
    before = values_of(runtime)

    def interrupt(message: str) -> None:
        nonlocal moment
        if moment in message:
            moment = "never again"
            raise KeyboardInterrupt

    taken = STEPS.index(moment) >= TAKEN
    with pytest.raises(KeyboardInterrupt):
        rotate(settings_of(runtime), list(LENGTHS), progress=interrupt)
    assert not rotation.is_pending(runtime.paths)
    after = values_of(runtime)
    assert (before != after) == taken
    assert {after[name] != before[name] for name in LENGTHS} == {taken}
    assert_testgen_reads(runtime, after["testgen_password"])


@pytest.mark.thorough
def test_killed_while_postgresql_is_killed_too(runtime: LocalRuntime) -> None:
    before = values_of(runtime)
    run_program(ROTATE, runtime.paths.home, "the database has taken them")
    begun = rotation.pending(runtime.paths)
    assert begun
    postmaster = runtime.postgres.postmaster()
    assert postmaster
    os.kill(postmaster.pid, signal.SIGKILL)
    open_runtime(settings_of(runtime), silent)
    good = {name: value.get_secret_value() for name, value in begun.secrets.items()}
    assert_only_these_count(runtime, good, before)
    assert_the_connection_works(runtime)


@pytest.mark.thorough
def test_killed_from_outside_while_the_database_takes_them(runtime: LocalRuntime) -> None:
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(SEED)  # noqa: S311 - no secret
    for _ in range(4):
        before = values_of(runtime)
        with subprocess.Popen(
            [sys.executable, "-c", ROTATE, str(runtime.paths.home), "no such moment"],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            while "written down" not in process.stdout.readline():
                assert process.poll() is None
            begun = rotation.pending(runtime.paths)
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
        open_runtime(settings_of(runtime), silent)
        assert not rotation.is_pending(runtime.paths)
        new = {name: value.get_secret_value() for name, value in begun.secrets.items()} if begun else before
        assert values_of(runtime) in (before, new)
        assert_testgen_reads(runtime, values_of(runtime)["testgen_password"])


def test_one_secret_alone_is_rotated_and_the_others_stay(runtime: LocalRuntime) -> None:
    for name in LENGTHS:
        before = values_of(runtime)
        rotate(settings_of(runtime), [name], progress=silent)
        after = values_of(runtime)
        assert {each for each in LENGTHS if before[each] != after[each]} == {name}
        assert places_of(runtime, {name: before[name]}) == set()
        assert_testgen_reads(runtime, after["testgen_password"])


def test_everything_that_testgen_encrypts_is_encrypted_anew(runtime: LocalRuntime) -> None:
    columns = json.loads(run_in_testgen(runtime, ENCRYPTED_COLUMNS))
    with runtime.metadata() as connection:
        found = connection.execute(encrypted._COLUMNS).fetchall()
    assert sorted([table, column] for table, names in found for column in names) == columns
    stored = {
        "private_key": "-----BEGIN PRIVATE KEY-----\n" + "M" * 1700 + "\n-----END PRIVATE KEY-----",
        "private_key_passphrase": "sixteen-letters!",
        "service_account_key": {"type": "service_account", "private_key": "a\nb"},
        "secrets": {"token": "t" * 31},
    }
    run_in_testgen(runtime, STORE, stored)
    try:
        done = rotate(settings_of(runtime), ["decrypt_salt", "decrypt_password"], progress=silent)
        assert done.values == 2 * 5
        expected = {**stored, "project_pw_encrypted": PASSWORD}
        assert json.loads(run_in_testgen(runtime, LOOK, [list(expected), []]))[0] == [expected] * 2
    finally:
        run_in_testgen(runtime, STORE, dict.fromkeys(stored))


def test_what_the_keys_do_not_decrypt_is_told_before_anything_changes(runtime: LocalRuntime) -> None:
    before = values_of(runtime)
    with runtime.metadata() as connection:
        kept = connection.execute("SELECT connection_id, project_pw_encrypted FROM connections").fetchall()
        # Sixteen bytes of something: TestGen's own decryption makes an empty password of most of it.
        connection.execute(
            "UPDATE connections SET project_pw_encrypted = convert_to(encode(sha256('x'), 'base64'), 'UTF8')"
            " WHERE project_code = 'slow'"
        )
    try:
        with pytest.raises(UsageError, match=r"do not decrypt project_pw_encrypted of pg$"):
            rotate(settings_of(runtime), list(LENGTHS), progress=silent)
    finally:
        with runtime.metadata() as connection:
            for row, value in kept:
                connection.execute(
                    "UPDATE connections SET project_pw_encrypted = %s WHERE connection_id = %s", [value, row]
                )
    assert values_of(runtime) == before
    assert not rotation.is_pending(runtime.paths)


def test_a_dry_run_tries_everything_and_changes_nothing(runtime: LocalRuntime) -> None:
    def state() -> object:
        with runtime.metadata() as connection:
            stored = connection.execute("SELECT project_pw_encrypted FROM connections ORDER BY 1").fetchall()
            users = connection.execute("SELECT password FROM auth_users").fetchall()
        files = {path.name: path.read_bytes() for path in runtime.paths.secrets.iterdir()}
        return stored, users, files

    before = state()
    done = rotate(settings_of(runtime), list(LENGTHS), progress=silent, dry_run=True)
    assert (done.dry_run, done.values) == (True, 2)
    assert state() == before


@pytest.fixture
def running_job(runtime: LocalRuntime) -> Iterator[None]:
    group = systems.resolve_system(runtime, "slow").table_groups[0]
    target = Target(runtime)
    with subprocess.Popen(
        [sys.executable, "-c", PROFILE, str(runtime.paths.home), str(group.id)], stdout=subprocess.DEVNULL
    ) as process:
        assert target.wait_for_statement(running=True)
        yield
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_nothing_is_rotated_while_a_job_runs(runtime: LocalRuntime, running_job: None) -> None:
    before = values_of(runtime)
    with pytest.raises(Busy, match="profiling in a test"):
        rotate(settings_of(runtime), list(LENGTHS), progress=silent)
    assert values_of(runtime) == before
    assert not rotation.is_pending(runtime.paths)


def test_a_look_at_an_interrupted_rotation_is_waited_for(runtime: LocalRuntime) -> None:
    before = values_of(runtime)
    looking = threading.Event()

    def look() -> None:
        with lock.hold(rotation.lock_file(runtime.paths), "recovery of secrets", timeout=30):
            looking.set()
            time.sleep(1.5)

    thread = threading.Thread(target=look)
    thread.start()
    assert looking.wait(30)
    rotate(settings_of(runtime), ["jwt_key"], progress=silent)
    thread.join(30)
    assert values_of(runtime)["jwt_key"] != before["jwt_key"]


def test_each_of_several_rotations_before_a_connection_is_followed(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_runtime(settings_of(runtime), silent)
    server = reader.server
    left = 3

    def rotated_just_before(password: SecretStr) -> MetadataServer:
        nonlocal left
        if left:
            left -= 1
            rotate(settings_of(runtime), ["postgres_password"], progress=silent)
        return server(password)

    monkeypatch.setattr(reader, "server", rotated_just_before)
    with reader.metadata() as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("testgen",)
    assert left == 0


def test_who_reads_meanwhile_reads_on(runtime: LocalRuntime) -> None:
    over = threading.Event()
    failures: list[Exception] = []
    reads = 0

    def look() -> None:
        nonlocal reads
        while not over.is_set():
            try:
                with open_runtime(settings_of(runtime), silent).metadata() as connection:
                    connection.execute("SELECT count(*) FROM connections").fetchone()
                reads += 1
            except (EnvironmentFault, Busy, psycopg.Error) as error:
                failures.append(error)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(8):
            rotate(settings_of(runtime), ["postgres_password", "jwt_key"], progress=silent)
    finally:
        over.set()
        for reader in readers:
            reader.join(60)
    assert failures == []
    assert reads > 8


def test_the_command_line_shows_no_value_that_it_is_not_asked_for(runtime: LocalRuntime) -> None:
    run = CommandLine(runtime.paths.home, {"DATABRICKS_TOKEN": "dapi-planted-4711"})
    before = values_of(runtime)
    shown = run("credentials", "show")
    document = run.document("credentials", "show")
    assert [each["name"] for each in document["secrets"]] == list(LENGTHS)
    assert {each["value"] for each in document["secrets"]} == {"********"}
    origins = {each["name"]: each["origin"] for each in document["databricks"]}
    assert (origins["databricks_token"], origins["databricks_host"]) == ("variable DATABRICKS_TOKEN", None)
    rotated = run("--debug", "credentials", "rotate", "testgen_password", "jwt_key")
    after = values_of(runtime)
    assert "testgen_password, jwt_key rotated" in rotated.out
    for said in (shown.everything, json.dumps(document), rotated.everything):
        for value in (*before.values(), *after.values(), "dapi-planted-4711"):
            assert value not in said
    for environment in ({}, {"DQCTL_OUTPUT": "json"}):
        revealed = CommandLine(runtime.paths.home, environment)(
            "credentials", "show", "--reveal", "testgen_password"
        )
        assert (revealed.out, revealed.err) == (after["testgen_password"] + "\n", "")
    assert "has no secret" in run("credentials", "show", "--reveal", "databricks_token", code=2).err
    assert "no secret is named" in run("credentials", "rotate", code=2).err
    assert "has no secret" in run("credentials", "rotate", "passwd", code=2).err
    assert values_of(runtime) == after


def test_a_value_is_revealed_as_the_database_has_it_after_an_interrupted_rotation(runtime: LocalRuntime) -> None:
    run_program(ROTATE, runtime.paths.home, "the database has taken them")
    value = read(settings_of(runtime), "testgen_password", progress=silent).get_secret_value()
    assert_testgen_reads(runtime, value)
    assert all(each.changed for each in secrets_of(settings_of(runtime)))


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["5.92.2", "5.33.3"])
def test_older_versions_keep_their_connections_and_their_roles_follow(
    older_stack: Settings, tmp_path: Path
) -> None:
    runtime = make(older_stack, tmp_path)
    before = values_of(runtime)
    columns = json.loads(run_in_testgen(runtime, ENCRYPTED_COLUMNS))
    with runtime.metadata() as connection:
        found = connection.execute(encrypted._COLUMNS).fetchall()
    assert sorted([table, column] for table, names in found for column in names) == columns

    done = rotate(older_stack, list(LENGTHS), progress=silent)

    assert done.values == 2
    assert done.roles == ("testgen", "testgen_execute", "testgen_report")
    after = values_of(runtime)
    assert_only_these_count(runtime, after, before)
    assert_the_connection_works(runtime)
    for role in ("testgen_execute", "testgen_report"):
        where = {"host": "127.0.0.1", "port": runtime.record.postgres_port, "dbname": "postgres", "user": role}
        psycopg.connect(**where, password=after["postgres_password"]).close()  # type: ignore[arg-type]
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(**where, password=before["postgres_password"])  # type: ignore[arg-type]
