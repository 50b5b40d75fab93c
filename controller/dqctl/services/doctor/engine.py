"""The Docker engine: its client and Compose, the way to it, its versions, its space, what nobody owns in it."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import docker.constants
import docker.errors
import docker.utils
import requests.exceptions
from docker.client import DockerClient, from_env

from dqctl.errors import DqctlError
from dqctl.runtime import compose
from dqctl.runtime.engine import PROJECT_LABEL
from dqctl.services.doctor.findings import Finding, check, failed, ok, skipped, warning
from dqctl.services.doctor.machine import judge_space
from dqctl.services.doctor.subject import Subject
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record

_PREFIX = "dqctl-"
_SECONDS = 2.5  # for one call of the engine's API; it is on this machine, which may have much to do
ENGINE = (20, 10)  # the oldest that dqctl is tried with
COMPOSE = (2, 26)
_NOT_RUNNING = "start the engine: systemctl start docker; or name another one: export DOCKER_HOST=..."


def client() -> DockerClient:
    """The engine, or what the SDK raises, soon."""
    return from_env(version="auto", timeout=_SECONDS)  # type: ignore[arg-type]  # takes a fraction too


@check("docker.compose", seconds=2.5, late="docker compose version hangs: see docker context ls")
def compose_plugin(subject: Subject) -> Finding:
    """The docker command and its Compose plugin; asks no engine."""
    del subject
    version = compose.compose_version()
    if _numbers(version) < COMPOSE:
        return warning(
            f"Compose {version}, tried is {_dotted(COMPOSE)}", "update the package docker-compose-plugin"
        )
    return ok(f"Compose {version}")


@check("docker.socket")
def socket(subject: Subject) -> Finding:
    """The engine's socket, and whether we may use it."""
    del subject
    url = docker.utils.kwargs_from_env().get("base_url") or docker.constants.DEFAULT_UNIX_SOCKET
    found = re.match(r"(?:http\+)?unix:/*(/.*)", url)
    if not found:
        return ok(f"the engine is reached by {url}")
    path = Path(found[1])
    try:
        status = path.stat()
    except OSError as error:
        return failed(f"{path}: {error.strerror}", _NOT_RUNNING)
    if not stat.S_ISSOCK(status.st_mode):
        return failed(f"{path} is no socket", f"rm -r {path}, then {_NOT_RUNNING}")
    mode = stat.S_IMODE(status.st_mode)
    if not os.access(path, os.R_OK | os.W_OK):
        return failed(
            f"{path} is {mode:04o} of group {status.st_gid}, closed to user {os.geteuid()}",
            "sudo usermod --append --groups docker $USER, then log in again",
        )
    if mode & stat.S_IWOTH:
        return warning(f"{path} is {mode:04o}: everybody here controls the engine", f"chmod 0660 {path}")
    return ok(f"{path} is open to user {os.geteuid()}")


@check("docker.engine", seconds=3.0, needs=("docker.socket",), late="the engine hangs: systemctl restart docker")
def engine(subject: Subject) -> Finding:
    """Whether the engine answers, and which one it is."""
    del subject
    try:
        about = client().version()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return failed(f"the engine does not answer: {error}", _NOT_RUNNING)
    evidence = f"Docker Engine {about.get('Version')}, API {about.get('ApiVersion')}, {about.get('Arch')}"
    if _numbers(str(about.get("Version"))) < ENGINE:
        return warning(f"{evidence}; tried is {_dotted(ENGINE)}", "update Docker")
    return ok(evidence)


@check("docker.disk", seconds=3.0, needs=("docker.engine",))
def disk(subject: Subject) -> Finding:
    """Space where the engine keeps images and volumes."""
    root = Path(str(client().info().get("DockerRootDir")))
    try:
        root.stat()
    except OSError:
        return skipped(f"{root} is not on this machine, or closed", "docker system df")
    return judge_space((root,), installed=subject.record is not None)


@check("docker.leftovers", seconds=4.0, needs=("docker.engine",))
def leftovers(subject: Subject) -> Finding:
    """Containers, networks and volumes of Compose projects of ours that no stack knows."""
    try:
        return _leftovers(subject)
    except requests.exceptions.Timeout:  # whether the engine answers at all is another check's
        return skipped(f"the engine did not list what it has within {_SECONDS:g} s", "docker ps --all")


def _leftovers(subject: Subject) -> Finding:
    engine = client()
    label: dict[str, str | list[str] | bool] = {"label": PROJECT_LABEL}
    found: dict[str, list[str]] = {}
    for each in engine.containers.list(all=True, filters=label, ignore_removed=True):
        # A stack of another home: its definition tells.
        definition = each.labels.get(f"{PROJECT_LABEL}.config_files", "")
        if not Path(definition.partition(",")[0]).is_file():
            _note(found, each.labels, f"container {each.name}")
    for network in engine.networks.list(filters=label):
        # Without containers of a living project: those are listed by Compose with their network.
        _note(found, network.attrs.get("Labels") or {}, f"network {network.name}")
    for volume in engine.volumes.list(filters=label):
        _note(found, volume.attrs.get("Labels") or {}, f"volume {volume.name}")
    orphans = {project: what for project, what in found.items() if not _is_known(engine, subject, project)}
    if not orphans:
        return ok(f"nothing of a project {_PREFIX}* without its stack")
    project, _ = next(iter(orphans.items()))
    return warning(
        "no stack knows: " + "; ".join(", ".join(what) for what in orphans.values()),
        f"docker compose --project-name {project} down; with --volumes its data goes too",
    )


def _note(found: dict[str, list[str]], labels: dict[str, str], what: str) -> None:
    project = labels.get(PROJECT_LABEL, "")
    if project.startswith(_PREFIX):
        found.setdefault(project, []).append(what)


def _is_known(engine: Any, subject: Subject, project: str) -> bool:
    paths = StackPaths(subject.settings.home, project.removeprefix(_PREFIX))
    try:
        if (record := read_record(paths)) is not None:
            return record.runtime == "docker"
    except DqctlError:  # a record of a newer dqctl: somebody's all the same
        return True
    living = engine.containers.list(all=True, filters={"label": f"{PROJECT_LABEL}={project}"}, ignore_removed=True)
    definitions = [each.labels.get(f"{PROJECT_LABEL}.config_files", "").partition(",")[0] for each in living]
    return any(Path(definition).is_file() for definition in definitions)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


CHECKS = (compose_plugin, socket, engine, disk, leftovers)
