"""The images keep the contracts of the ones that they stand in for, hardened, and say nothing of the host."""

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.images import Image
from docker.models.volumes import Volume
from docker.types import Mount

import docker
from dqctl import __version__

pytestmark = pytest.mark.docker

PASSWORD = "p#a$s'w\" ö=r\\d"
HARDENED = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 200,
}
RUNTIME = {"/tmp": "", "/var/run/postgresql": "mode=2775,uid=999,gid=999"}
DATA = "/var/lib/postgresql/data"
REPOSITORY = Path(__file__).parents[2]


def config(engine: docker.DockerClient, tag: str) -> dict[str, object]:
    image = engine.images.get(tag)
    assert isinstance(image, Image)
    found: dict[str, object] = image.attrs["Config"]
    return found


def said_by(engine: docker.DockerClient, tag: str, *command: str, **options: object) -> str:
    """What a hardened container of an image says; a failure fails the test.

    The engine's ``run(remove=True)`` would leave the volumes behind that the image asks for.
    """
    container = engine.containers.create(tag, list(command), **{**HARDENED, "tmpfs": {"/tmp": ""}, **options})
    try:
        container.start()
        code, said = ended(container)
    finally:
        container.remove(force=True, v=True)
    assert code == 0, said
    return said


def shell(engine: docker.DockerClient, tag: str, script: str, **options: object) -> str:
    """What ``script`` says in a hardened container of an image; a failure fails the test."""
    return said_by(engine, tag, "-c", script, entrypoint="/bin/sh", **options)


# --- testgen -----------------------------------------------------------------------------------------------------


def test_testgen_image_is_configured_like_the_stock_one(engine: docker.DockerClient, images) -> None:
    found = config(engine, images.testgen)
    assert (found["User"], found["WorkingDir"]) == ("testgen", "/dk")
    assert (found["Entrypoint"], found["Cmd"]) == (["testgen"], ["run-app"])
    assert list(found["Volumes"]) == ["/var/lib/testgen"]
    version = images.testgen.partition(":")[2]
    assert found["Labels"]["org.opencontainers.image.version"] == version
    assert f"TESTGEN_VERSION={version}" in found["Env"]
    assert "TG_RELEASE_CHECK=docker" in found["Env"]


def test_testgen_runs_as_a_user_who_owns_the_volume_and_nothing_of_the_program(engine, images) -> None:
    said = shell(
        engine,
        images.testgen,
        "id -u; id -un; find /dk /usr ! -type l -writable | head; touch /var/lib/testgen/x && echo writes",
        read_only=False,
    )
    assert said.split() == ["1000", "testgen", "writes"]


def test_testgen_starts_hardened_and_is_the_version_of_its_tag(engine, images) -> None:
    said = said_by(engine, images.testgen, "--help")
    assert "run-tests" in said
    script = "import importlib.metadata as m; print(m.version('dataops-testgen'))"
    assert shell(engine, images.testgen, f'python3 -c "{script}"').strip() == images.testgen.partition(":")[2]


def test_testgen_is_compiled_for_a_file_system_that_cannot_be_written(engine, images) -> None:
    script = (
        "import pathlib, sys, testgen, sqlalchemy, streamlit\n"
        "for package in (testgen, sqlalchemy, streamlit):\n"
        "    root = pathlib.Path(package.__file__).parent\n"
        "    for source in root.rglob('*.py'):\n"
        "        compiled = source.parent / '__pycache__' / f'{source.stem}.{sys.implementation.cache_tag}.pyc'\n"
        # The flags of an unchecked hash: bit 0 set, bit 1 not.
        "        if not compiled.exists() or compiled.read_bytes()[4:8] != bytes([1, 0, 0, 0]):\n"
        "            print(source)\n"
    )
    assert shell(engine, images.testgen, f"python3 -c {shlex.quote(script)}") == ""


def test_a_version_without_image_is_an_error_with_a_hint() -> None:
    done = subprocess.run(
        [str(REPOSITORY / "scripts" / "images"), "engine"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "there is no image engine" in done.stderr
    assert "hint:" in done.stderr


# --- prometheus and alertmanager ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watching(build_images: Callable[..., list[str]]) -> dict[str, str]:
    return dict(zip(("prometheus", "alertmanager"), build_images("prometheus", "alertmanager"), strict=True))


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_images_that_watch_are_configured_like_the_official_ones(engine, watching, name: str) -> None:
    found = config(engine, watching[name])
    assert (found["User"], found["WorkingDir"], list(found["Volumes"])) == ("nobody", f"/{name}", [f"/{name}"])
    assert found["Entrypoint"] == [f"/bin/{name}"]
    assert found["Cmd"][0] == f"--config.file=/etc/{name}/{name}.yml"
    version = watching[name].partition(":")[2]
    assert found["Labels"]["org.opencontainers.image.version"] == version
    tool = {"prometheus": "promtool", "alertmanager": "amtool"}[name]
    script = f"id -u; stat -c '%u %a' /{name}; /bin/{name} --version 2>&1; /bin/{tool} --version 2>&1"
    said = shell(engine, watching[name], script)
    assert said.startswith(f"65534\n65534 755\n{name}, version {version}.")
    assert f"{tool}, version {version}." in said


# --- postgres ----------------------------------------------------------------------------------------------------


def test_postgres_image_is_configured_like_the_official_one(engine, images) -> None:
    found = config(engine, images.postgres)
    assert (found["Entrypoint"], found["Cmd"]) == (["docker-entrypoint.sh"], ["postgres"])
    assert (found["StopSignal"], list(found["Volumes"])) == ("SIGINT", [DATA])
    major = images.postgres.partition(":")[2]
    assert {f"PGDATA={DATA}", f"PG_MAJOR={major}"} <= set(found["Env"])
    assert found["Labels"]["org.opencontainers.image.version"] == major
    said = shell(
        engine, images.postgres, f"id -u postgres; id -g postgres; stat -c '%U %a' {DATA}; postgres --version"
    )
    assert said.startswith(f"999\n999\npostgres 700\npostgres (PostgreSQL) {major}.")


@pytest.fixture
def volume(engine: docker.DockerClient) -> Iterator[Volume]:
    volume = engine.volumes.create()
    yield volume
    volume.remove(force=True)


@pytest.fixture
def secret() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "password"
        path.write_text(PASSWORD + "\n")
        path.chmod(0o444)
        yield path


@pytest.fixture
def run_postgres(engine, images, secret: Path, volume: Volume) -> Iterator[Callable[..., Container]]:
    """Start a hardened PostgreSQL on the test's volume."""
    started: list[Container] = []

    def run(*command: str, environment: dict[str, str] | None = None, **options: object) -> Container:
        given = {"POSTGRES_USER": "owner", "POSTGRES_PASSWORD_FILE": "/run/secrets/password"}
        options = {"user": "999:999", "tmpfs": RUNTIME, **HARDENED, **options}
        container = engine.containers.run(
            images.postgres,
            list(command),
            detach=True,
            environment=given if environment is None else environment,
            volumes={volume.name: {"bind": DATA}, str(secret): {"bind": "/run/secrets/password", "mode": "ro"}},
            **options,
        )
        started.append(container)
        return container

    yield run
    for container in started:
        with contextlib.suppress(NotFound):
            container.remove(force=True, v=True)


def address(container: Container) -> str:
    container.reload()
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    found: str = network["IPAddress"]
    return found


def connect(container: Container, password: str = PASSWORD, **options: object) -> psycopg.Connection:
    """Connect from outside, as soon as it answers."""
    end = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(
                host=address(container), user="owner", password=password, connect_timeout=5, **options
            )
        except psycopg.OperationalError as error:
            if "authentication" in str(error):
                raise
            container.reload()
            assert container.status == "running", container.logs().decode()
            assert time.monotonic() < end, container.logs().decode()
            time.sleep(0.05)


def ended(container: Container) -> tuple[int, str]:
    code: int = container.wait(timeout=120)["StatusCode"]
    return code, container.logs().decode()


def test_postgres_serves_hardened_with_a_password_from_a_file_that_shows_nowhere(run_postgres) -> None:
    container = run_postgres("postgres", "-c", "max_connections=17")
    with connect(container) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("17",)
        assert connection.execute("SELECT current_database(), current_user").fetchone() == ("owner", "owner")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(container, "wrong")
    code, environment = container.exec_run(["cat", "/proc/1/environ"])
    assert code == 0
    assert b"PGDATA" in environment
    for place in (environment.decode(), str(container.attrs), container.logs().decode()):
        assert PASSWORD not in place
    assert container.exec_run(["grep", "-rF", PASSWORD, DATA])[0] == 1


def test_postgres_keeps_its_data_and_stops_at_once_and_cleanly(run_postgres) -> None:
    container = run_postgres(
        environment={"POSTGRES_USER": "owner", "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "kept"}
    )
    with connect(container, dbname="kept") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    started = time.monotonic()
    container.stop(timeout=20)
    assert time.monotonic() - started < 18
    assert ended(container)[0] == 0
    again = run_postgres(environment={})  # what the variables say matters the first time only
    with connect(again, dbname="kept") as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


@pytest.mark.thorough
def test_postgres_killed_at_any_moment_of_its_first_start_recovers(run_postgres) -> None:
    for delay in (0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.4):
        container = run_postgres()
        time.sleep(delay)
        container.kill()
        container.remove(v=True)
    with connect(run_postgres()) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("owner",)


@pytest.mark.thorough
def test_postgres_cut_off_before_the_last_move_begins_anew(engine, images, run_postgres, volume: Volume) -> None:
    connect(run_postgres()).close()
    mounted = {"user": "999:999", "volumes": {volume.name: {"bind": DATA}}}
    shell(
        engine,
        images.postgres,
        f"cd {DATA} && mkdir -p .initializing/data && mv PG_VERSION .initializing/data",
        **mounted,
    )
    container = run_postgres()
    connect(container).close()
    assert "beginning anew" in container.logs().decode()
    assert ".initializing" not in shell(engine, images.postgres, f"ls -A {DATA}", **mounted)


def test_postgres_leaves_alone_what_is_no_cluster(engine, images, run_postgres, volume: Volume) -> None:
    mounted = {"user": "999:999", "volumes": {volume.name: {"bind": DATA}}}
    shell(engine, images.postgres, f"echo precious > {DATA}/mine", **mounted)
    code, said = ended(run_postgres())
    assert code == 1
    assert "no database cluster" in said
    assert shell(engine, images.postgres, f"cat {DATA}/mine", **mounted) == "precious\n"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no password for the superuser"),
        ({"POSTGRES_PASSWORD_FILE": "/nowhere"}, "cannot read: /nowhere"),
        ({"POSTGRES_PASSWORD_FILE": "/run/secrets/password", "POSTGRES_PASSWORD": "x"}, "use one of them"),
    ],
)
def test_postgres_refuses_to_start_without_one_password(run_postgres, environment, message: str) -> None:
    code, said = ended(run_postgres(environment=environment))
    assert code == 1
    assert message in said


def test_postgres_started_as_root_runs_as_postgres(run_postgres) -> None:
    container = run_postgres(user="root", cap_drop=[], read_only=False, tmpfs={})
    connect(container).close()
    assert container.exec_run(["stat", "-c", "%U", "/proc/1"]).output == b"postgres\n"


def test_postgres_runs_as_a_user_that_has_no_name(run_postgres) -> None:
    container = run_postgres(
        user="12345:12345",
        environment={
            "POSTGRES_USER": "owner",
            "POSTGRES_PASSWORD_FILE": "/run/secrets/password",
            "PGDATA": "/tmp/data",
            "POSTGRES_INITDB_ARGS": "--data-checksums --encoding=UTF8 --locale=C",
        },
        tmpfs={"/tmp": "", "/var/run/postgresql": "mode=1777"},
    )
    with connect(container) as connection:
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)


def test_postgres_runs_the_scripts_of_the_first_start_once(run_postgres, secret: Path) -> None:
    scripts = secret.parent / "scripts"
    scripts.mkdir()
    (scripts / "1.sql").write_text("CREATE TABLE made (x int)")
    (scripts / "2.sh").write_text("psql -d owner -c 'INSERT INTO made VALUES (1)'")
    for path in (secret.parent, scripts):
        path.chmod(0o755)
    container = run_postgres(
        "-c", "work_mem=5MB", mounts=[Mount("/docker-entrypoint-initdb.d", str(scripts), "bind", read_only=True)]
    )
    for _ in range(2):
        with connect(container) as connection:
            assert connection.execute("SELECT x FROM made").fetchall() == [(1,)]
            assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        container.restart(timeout=20)


# --- both --------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_testgen_sets_its_database_up_in_the_postgres_image_with_secrets_from_files_only(
    engine, images, run_postgres, tmp_path: Path
) -> None:
    container = run_postgres()
    connect(container).close()
    values = {
        "TG_METADATA_DB_HOST": address(container),
        "TG_METADATA_DB_PORT": "5432",
        "TG_METADATA_DB_USER": "owner",
        "TG_METADATA_DB_PASSWORD": "metadata-password",  # TestGen fails on blanks and on what is not ASCII
        "TESTGEN_USERNAME": "admin",
        "TESTGEN_PASSWORD": "ui-password",
        "TG_DECRYPT_SALT": "salt",
        "TG_DECRYPT_PASSWORD": "decrypt",
        "TG_ANALYTICS": "no",
    }
    with connect(container) as connection:
        connection.execute(
            psycopg.sql.SQL("ALTER ROLE owner PASSWORD {}").format(values["TG_METADATA_DB_PASSWORD"])
        )
    file = tmp_path / "config.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    setup = engine.containers.run(
        images.testgen,
        ["setup-system-db", "--yes"],
        detach=True,
        environment={"TG_TESTGEN_HOME": "/run/testgen"},
        volumes={str(file): {"bind": "/run/testgen/config.env", "mode": "ro"}},
        tmpfs={"/tmp": "", "/home/testgen": "mode=0700,uid=1000,gid=1000"},
        **HARDENED,
    )
    try:
        code, said = ended(setup)
    finally:
        setup.remove(force=True, v=True)
    assert code == 0, said
    with connect(container, values["TG_METADATA_DB_PASSWORD"], dbname="datakitchen") as connection:
        (revision,) = connection.execute("SELECT revision FROM testgen.tg_revision").fetchone()
    assert int(revision) >= 235


# --- controller --------------------------------------------------------------------------------------------------


def test_controller_image_runs_dqctl_hardened_with_the_versions_of_the_lock(engine, controller_image: str) -> None:
    found = config(engine, controller_image)
    assert (found["User"], found["Entrypoint"]) == ("dqctl", ["dqctl"])
    assert found["Labels"]["org.opencontainers.image.version"] == __version__
    said = said_by(engine, controller_image, "--version")
    assert said.strip() == f"dqctl {__version__}"
    script = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    listed = shell(engine, controller_image, f'/opt/dqctl/bin/python -c "{script}"').splitlines()
    installed = {name.lower().replace("_", "-"): version for name, version in map(str.split, listed)}
    assert installed.pop("dqctl") == __version__
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert set(installed.items()) <= set(re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", lock, re.MULTILINE))
    assert "docker" in installed
    assert "pytest" not in installed


# --- nothing of the host -----------------------------------------------------------------------------------------


# As they were before any test: dqctl itself adds to NO_PROXY in the process that it works in.
_VARIABLES = dict(os.environ)


def own_certificates() -> list[str]:
    """A line of every certificate that this machine trusts and Debian does not: a proxy's, a mirror's."""
    bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    text = bundle.read_text() if bundle.exists() else ""
    known = "".join(path.read_text() for path in Path("/usr/share/ca-certificates").rglob("*.crt"))
    lines = [
        found.splitlines()[8] for found in re.findall(r"-BEGIN CERTIFICATE-----\n(.*?)-----END", text, re.DOTALL)
    ]
    return [line for line in lines if line not in known]


def test_no_index_no_proxy_and_no_secret_of_the_host_is_in_history_or_files(
    engine, images, controller_image: str, watching: dict[str, str], tmp_path: Path
) -> None:
    names = re.compile(r"^((PIP|UV)_.*(INDEX|HOST).*|https?_proxy|no_proxy)$", re.IGNORECASE)
    planted = [value for name, value in _VARIABLES.items() if names.match(name) and value]
    planted += own_certificates()
    patterns = tmp_path / "patterns"
    # The last one is in every image: proof that the search finds.
    patterns.write_text("\n".join([*planted, "root:x:0:0:"]) + "\n")
    search = "cd /; grep -rlIF -f /patterns $(ls | grep -vE '^(proc|sys|dev|patterns)$') || true"
    for tag in (images.testgen, images.postgres, controller_image, *watching.values()):
        history = str(engine.images.get(tag).history())
        assert not [value for value in planted if value in history], tag
        mounted = {str(patterns): {"bind": "/patterns", "mode": "ro"}}
        found = set(shell(engine, tag, search, user="0", cap_drop=[], volumes=mounted).split())
        assert found - {"etc/passwd-"} == {"etc/passwd"}, tag


def test_nothing_is_built_twice(
    build_images: Callable[..., list[str]], images, controller_image: str, engine
) -> None:
    tags = [images.testgen, images.postgres]
    before = [engine.images.get(tag).id for tag in tags]
    started = time.monotonic()
    assert build_images("testgen", "postgres") == tags
    assert time.monotonic() - started < 30  # 1 s on a quiet machine
    assert [engine.images.get(tag).id for tag in tags] == before
