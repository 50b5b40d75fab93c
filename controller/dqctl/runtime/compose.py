"""The Compose project of a stack: its files, and what only ``docker compose`` does."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.databricks.profile import profile_file
from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE, ensure_private_dir, write_atomically
from dqctl.redaction import redact
from dqctl.runtime import controller, engine, metadata, monitoring
from dqctl.runtime.connection import ROLE
from dqctl.runtime.launch import ENVIRONMENT, scheduler_program
from dqctl.runtime.templates import render
from dqctl.settings import Settings
from dqctl.stack.images import Image, Images
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import LakebaseRecord, StackRecord, read_record
from dqctl.stack.secrets import LENGTHS, read_secret
from dqctl.testgen.scheduler import HEARTBEAT

INSIDE = "/run/dqctl"
CA_BUNDLE = "ca-bundle.pem"
LOOPBACK = ("127.0.0.1", "localhost")
HOST = "host.docker.internal"  # this machine, as seen from the engine (compose/stack.yaml.j2)
LAKEBASE_CA = "lakebase-ca.pem"

_SCHEDULER = "scheduler.py"
_CREDENTIAL = Path(INSIDE) / "credential"
_PROFILES = Path(INSIDE) / "databrickscfg"
# What signing in by way of Azure reads of the environment, and is no secret (databricks-sdk 0.156).
_AZURE = ("ARM_CLIENT_ID", "ARM_TENANT_ID", "ARM_ENVIRONMENT", "ARM_USE_MSI", "DATABRICKS_AZURE_RESOURCE_ID")

_SECONDS = 180.0
_ONCE_SECONDS = 60.0
_LAST = 6  # lines of what Compose said that are shown
# Readable by whatever user the image runs as, and for containers only: the directory above is 0700.
_MOUNTED_DIR, _MOUNTED_FILE = 0o755, 0o444

# What the docker command needs of our environment to find its engine and its plugins.
_INHERITED = (
    "HOME", "PATH", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
    "DOCKER_API_VERSION", "XDG_RUNTIME_DIR", "LANG", "LC_ALL",
)  # fmt: skip


def project(paths: StackPaths) -> str:
    """Name of the stack's Compose project; it is the prefix of all that the engine has of it."""
    return f"dqctl-{paths.name}"


@dataclass(frozen=True)
class Files:
    """The files of a stack's project: path, content, mode."""

    content: dict[Path, tuple[str, int]]

    def differing(self) -> Iterator[Path]:
        """Those that do not stand as they should."""
        for path, (text, mode) in self.content.items():
            try:
                if path.read_text(encoding="utf-8") != text or path.stat().st_mode & 0o777 != mode:
                    yield path
            except (OSError, UnicodeDecodeError):
                yield path

    def write(self) -> None:
        """Write those that differ, each in one step."""
        for path in self.differing():
            text, mode = self.content[path]
            write_atomically(path, text, mode)


def render_files(
    paths: StackPaths, settings: Settings, images: Images, record: StackRecord | None = None
) -> Files:
    """All files of the project, by the stack's ``record`` or the one that is written.

    Raises ``EnvironmentFault`` when one that they are made from cannot be read.
    """
    record = record or read_record(paths)
    host, port = _address(record.lakebase) if record and record.lakebase else ("postgres", 5432)
    definition = render(
        "stack.yaml",
        metadata={"host": host, "port": port},
        project=project(paths),
        throw_away=record.throw_away.labels if record and record.throw_away else None,
        engine=images.engine,
        postgres=images.postgres,
        role=ROLE,
        root=paths.root,
        mounted=paths.mounted,
        memory=settings.memory,
        network=settings.network,
        publish_port=settings.publish_port,
        home=paths.home,
        stack=paths.name,
        controller=_find_controller(paths, settings, images),
        scheduler=_find_scheduler(settings),
        monitoring=monitoring.find_services(paths, settings, images),
    )
    files = {paths.compose: (definition, PRIVATE_FILE), **secret_files(paths).content}
    files |= monitoring.files(paths, settings, images)
    if settings.scheduler:
        files[paths.mounted / "engine" / _SCHEDULER] = (scheduler_program(settings.profile_ansi), _MOUNTED_FILE)
    if settings.ca_bundle:
        try:
            bundle = settings.ca_bundle.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EnvironmentFault(
                f"the CA bundle {settings.ca_bundle} cannot be read: {error}", "check DQCTL_CA_BUNDLE"
            ) from None
        files[paths.mounted / "engine" / CA_BUNDLE] = (bundle, _MOUNTED_FILE)
    return Files(files)


@dataclass(frozen=True)
class _Controller:
    """What the template needs to know of the controller: ``files`` are mounted, by their path here."""

    image: Image
    user: str
    group: int | None
    environment: Mapping[str, str]
    files: Mapping[Path, Path]
    runs: bool
    port: int


def _find_controller(paths: StackPaths, settings: Settings, images: Images) -> _Controller | None:
    if not settings.controller or images.controller is None:
        return None
    owner = paths.root.stat()
    environment: dict[str, str] = {}
    files: dict[Path, Path] = {}
    group = None
    if (user_settings := paths.home / "settings.toml").exists():
        files[user_settings] = user_settings
    if settings.ca_bundle:
        bundle = str(paths.mounted / "engine" / CA_BUNDLE)
        environment |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "DQCTL_CA_BUNDLE"), bundle)
    if settings.databricks_client_id:
        environment["DATABRICKS_CLIENT_ID"] = settings.databricks_client_id
    if settings.controller_credential:
        what = "CLIENT_SECRET" if settings.databricks_client_id else "TOKEN"
        environment[f"DATABRICKS_{what}_FILE"] = str(_CREDENTIAL)
        files[settings.controller_credential] = _CREDENTIAL
    if settings.databricks_config_profile:
        environment["DATABRICKS_CONFIG_PROFILE"] = settings.databricks_config_profile
        environment["DATABRICKS_CONFIG_FILE"] = str(_PROFILES)
        files[profile_file(os.environ)] = _PROFILES
    environment |= {name: os.environ[name] for name in _AZURE if os.environ.get(name)}
    if settings.controller_socket:
        found = engine.socket_path()
        files[found] = controller.SOCKET
        group = found.stat().st_gid
    user = f"{owner.st_uid}:{owner.st_gid}"
    return _Controller(
        images.controller, user, group, environment, files, settings.controller_run, controller.PORT
    )


@dataclass(frozen=True)
class _Scheduler:
    """What the template needs to know of the scheduler; ``digest`` tells one program from another."""

    digest: str
    program: str
    environment: Mapping[str, str]
    heartbeat: str


def _find_scheduler(settings: Settings) -> _Scheduler | None:
    if not settings.scheduler:
        return None
    environment = dict(ENVIRONMENT)
    if settings.ca_bundle:
        environment |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), f"{INSIDE}/{CA_BUNDLE}")
    digest = hashlib.sha256(scheduler_program(settings.profile_ansi).encode()).hexdigest()[:16]
    return _Scheduler(digest, f"{INSIDE}/{_SCHEDULER}", environment, HEARTBEAT)


def secret_files(paths: StackPaths) -> Files:
    """Those files of the project that hold secrets; ``EnvironmentFault`` when one cannot be read."""
    record = read_record(paths)
    if record and record.lakebase:
        return _lakebase_files(paths, record.lakebase)
    secrets = {name: read_secret(paths, name).get_secret_value() for name in LENGTHS}
    configuration = render(
        "config.env",
        host="postgres",
        port=5432,
        ca_file=None,
        database=metadata.DATABASE,
        role=ROLE,
        **secrets,
    )
    return Files(
        {
            paths.mounted / "engine" / "config.env": (configuration, _MOUNTED_FILE),
            paths.mounted / "postgres" / "postgres_password": (secrets["postgres_password"] + "\n", _MOUNTED_FILE),
        }
    )


def _lakebase_files(paths: StackPaths, lakebase: LakebaseRecord) -> Files:
    host, port = _address(lakebase)
    secrets = {name: read_secret(paths, name).get_secret_value() for name in LENGTHS}
    configuration = render(
        "config.env",
        host=host,
        port=port,
        ca_file=f"{INSIDE}/{LAKEBASE_CA}",
        database=metadata.DATABASE,
        role=ROLE,
        **secrets,
    )
    try:
        trusted = Path(lakebase.ca_file or "").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFault(
            f"Lakebase's certificates {lakebase.ca_file} cannot be read: {error}", "name others with --lakebase-ca"
        ) from None
    folder = paths.mounted / "engine"
    return Files(
        {folder / "config.env": (configuration, _MOUNTED_FILE), folder / LAKEBASE_CA: (trusted, _MOUNTED_FILE)}
    )


def _address(lakebase: LakebaseRecord) -> tuple[str, int]:
    """Where the containers find it; a local workspace is on this machine."""
    if lakebase.host is None:
        raise EnvironmentFault("it is not known where the stack's Lakebase is", "run dqctl install again")
    return (HOST if lakebase.host in LOOPBACK else lakebase.host), lakebase.port


def make_directories(paths: StackPaths) -> None:
    """The directories that containers mount. They are mounted whole: a file that is replaced is seen inside."""
    ensure_private_dir(paths.mounted)
    for service in ("engine", "postgres"):
        directory = paths.mounted / service
        directory.mkdir(exist_ok=True)
        directory.chmod(_MOUNTED_DIR)


def up(paths: StackPaths, *services: str) -> None:
    """Converge the containers to the definition, or only ``services``; those that are as they should be stay."""
    _compose(paths, "up", "--detach", "--no-build", "--remove-orphans", "--quiet-pull", *services)


def down(paths: StackPaths, *, volumes: bool = False) -> None:
    """Remove containers and network, and with ``volumes`` the data."""
    # Each service has its own time to stop. With the profile: what it started would keep the network.
    more = ["--volumes"] if volumes else []
    _compose(paths, "down", "--remove-orphans", *more, profile="controller")


def compose_version() -> str:
    """Version of the Compose plugin; ``EnvironmentFault`` when there is none."""
    done = processes.run(
        [_docker(), "compose", "version", "--short"], deadline=Deadline(20.0), environment=_environment()
    )
    if done.exit_code:
        raise EnvironmentFault(
            "docker has no Compose v2: docker compose does not answer",
            "install it (package docker-compose-plugin, or docker-compose in Debian 13), or use --runtime local",
        )
    return done.stdout.strip()


def run_once(image: str, program: str, *arguments: str, stdin: str) -> processes.Completed:
    """Run a program of an image in a container of its own, which has no network and is gone afterwards."""
    alone = ["--rm", "--interactive", "--network", "none", "--entrypoint", program]
    return processes.run(
        [_docker(), "run", *alone, image, *arguments],
        stdin=stdin,
        deadline=Deadline(_ONCE_SECONDS),
        environment=_environment(),
    )


def _compose(paths: StackPaths, *arguments: str, profile: str | None = None) -> None:
    about = {
        "--project-name": project(paths),
        "--project-directory": str(paths.root),
        "--file": str(paths.compose),
    }
    if profile:
        about["--profile"] = profile
    options = [part for pair in about.items() for part in pair]
    done = processes.run(
        [_docker(), "compose", "--ansi", "never", "--progress", "quiet", *options, *arguments],
        deadline=Deadline(_SECONDS),
        environment=_environment(),
        cwd=paths.root,
    )
    if done.exit_code:
        compose_version()  # the plain reason, if that is it
        said = redact(" | ".join((done.stderr or done.stdout).strip().splitlines()[-_LAST:]))
        raise EnvironmentFault(
            f"docker compose {arguments[0]} failed: {said}",
            "dqctl doctor looks for the reason; then run the same command again. Data is not touched",
        )


def _docker() -> str:
    controller.require_host("docker compose")
    found = shutil.which("docker")
    if found is None:
        raise EnvironmentFault("there is no docker command here", "install Docker, or use --runtime local")
    return found


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}
