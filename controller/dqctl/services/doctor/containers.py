"""The containers of a stack: their state, their health, their images, their definition."""

import contextlib
import socket
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

import docker.errors
from docker.models.containers import Container

from dqctl.runtime import compose
from dqctl.runtime.docker import host_address
from dqctl.runtime.engine import PROJECT_LABEL, SERVICE_LABEL
from dqctl.services.doctor.engine import client
from dqctl.services.doctor.findings import Finding, check, failed, ok, skipped, warning
from dqctl.services.doctor.subject import Subject
from dqctl.stack.images import Images, read_images

SERVICES = ("engine", "scheduler")
_NEEDS = ("stack.record", "docker.engine")


def _find(subject: Subject, service: str) -> Container | None:
    labels = [f"{PROJECT_LABEL}={compose.project(subject.paths)}", f"{SERVICE_LABEL}={service}"]
    labels.append("com.docker.compose.oneoff=False")
    found = client().containers.list(all=True, filters={"label": labels}, ignore_removed=True)
    return found[0] if found else None


@check("docker.postgres", seconds=3.0, needs=_NEEDS)
def postgres(subject: Subject) -> Finding:
    """The container of the metadata's PostgreSQL."""
    return _container(subject, "postgres")


@check("docker.testgen", seconds=3.0, needs=_NEEDS)
def testgen(subject: Subject) -> Finding:
    """The container in which TestGen's processes are started."""
    return _container(subject, "engine")


@check("docker.scheduler", seconds=3.0, needs=_NEEDS)
def scheduler(subject: Subject) -> Finding:
    """The container of TestGen's scheduler, where one is wanted."""
    if not (subject.record and subject.record.scheduler):
        return skipped("the stack has no scheduler, and dqctl's own commands need none")
    return _container(subject, "scheduler")


@check("docker.controller", seconds=3.0, needs=_NEEDS)
def controller(subject: Subject) -> Finding:
    """The container of dqctl's sidecar, where it is to run all the time."""
    if not (subject.record and subject.record.controller):
        return skipped("the stack has no controller that runs all the time, and dqctl's own commands need none")
    return _container(subject, "controller")


@check("docker.monitoring", seconds=3.0, needs=_NEEDS)
def monitoring(subject: Subject) -> Finding:
    """The containers of what watches the stack, where that is wanted: the first that is not well."""
    pinned = read_images(subject.paths)
    if pinned is None or not pinned.monitoring:
        return skipped("nothing watches the stack from beside it", "dqctl install --with monitoring adds it")
    found = [_container(subject, service) for service in pinned.monitoring]
    wrong = [each for each in found if each.verdict != "ok"]
    return wrong[0] if wrong else ok(", ".join(each.evidence for each in found))


def _container(subject: Subject, service: str) -> Finding:
    found = _find(subject, service)
    if found is None:
        if subject.record and not subject.record.installed:
            return skipped("the stack is not installed: there is no container", subject.command("install"))
        return failed(f"there is no container of {service}", subject.command("install"))
    return judge_container(found.attrs, subject.command("install"), subject.command("logs", service))


def judge_container(attrs: dict[str, Any], again: str, logs: str) -> Finding:
    """What the engine's own description of a container says; ``again`` and ``logs`` are commands."""
    name, state = attrs["Name"].lstrip("/"), attrs["State"]
    status, health = state["Status"], state.get("Health") or {}
    # What has ended keeps the health that it had last, or is called unhealthy.
    healthy = f" and {health['Status']}" if status == "running" and "Status" in health else ""
    evidence = f"{name} is {status}{healthy}"
    if restarts := attrs.get("RestartCount"):
        evidence += f", restarted {restarts} times"
    if status == "paused":
        return failed(evidence, f"docker unpause {name}")
    if status != "running":
        evidence += f", exit code {state.get('ExitCode')}"
        evidence += ", out of memory (DQCTL_MEMORY sets its limit)" if state.get("OOMKilled") else ""
        evidence += f": {state['Error']}" if state.get("Error") else ""
        return failed(evidence, f"{again}; why it ended: {logs}")
    if health.get("Status") == "unhealthy" and not health.get("FailingStreak"):
        # The engine calls it so from the moment of a pause until the first probe after it (20.10).
        return warning(f"{evidence}, but no probe has failed: it was paused a moment ago", "wait, and look again")
    if health.get("Status") == "unhealthy":
        last = (health.get("Log") or [{}])[-1]
        said = str(last.get("Output", "")).strip().splitlines()[-1:]
        return failed(f"{evidence}: {' '.join(said)[:300]}", f"docker restart {name}; what it says: {logs}")
    if health.get("Status") == "starting":
        return warning(evidence, "wait a moment, and look again")
    return warning(evidence, f"see why: {logs}") if restarts else ok(evidence)


@check("docker.images", seconds=3.0, needs=_NEEDS)
def images(subject: Subject) -> Finding:
    """Whether the images are those that were pinned at install, and still there."""
    pinned = read_images(subject.paths)
    if pinned is None:
        return failed("no images are pinned: an install was interrupted", subject.command("install"))
    optional = {"postgres": pinned.postgres, "controller": pinned.controller}
    services = [*SERVICES, *(name for name, image in optional.items() if image), *pinned.monitoring]
    problems = [problem for service in services for problem in _unpinned(subject, service, pinned)]
    if problems:
        return failed("; ".join(problems), subject.command("install"))
    names = [f"{each.reference} {each.id[7:19]}" for each in (pinned.engine, pinned.postgres) if each]
    return ok(", ".join(names))


def _unpinned(subject: Subject, service: str, pinned: Images) -> list[str]:
    image = pinned.monitoring.get(service) or getattr(pinned, "engine" if service == "scheduler" else service)
    found = _find(subject, service)
    if found and found.attrs["Image"] != image.id:
        return [f"{service} runs {found.attrs['Image'][7:19]}, pinned is {image.reference} {image.id[7:19]}"]
    try:
        client().images.get(image.id)
    except docker.errors.ImageNotFound:
        return [f"the image {image.reference} {image.id[7:19]} is gone"]
    return []


@check("docker.definition", needs=("stack.record", "secrets.files"))
def definition(subject: Subject) -> Finding:
    """Whether the Compose definition and what the containers mount are what the settings say."""
    pinned = read_images(subject.paths)
    if pinned is None:
        return skipped("no images are pinned yet", subject.command("install"))
    files = compose.render_files(subject.paths, subject.settings, pinned)
    differing = [str(path.relative_to(subject.paths.root)) for path in files.differing()]
    if differing:
        return warning(f"not what the settings say: {', '.join(differing)}", subject.command("install"))
    return ok(f"{len(files.content)} files are what the settings say")


@check("docker.workspace", seconds=3.0, needs=("databricks.settings", "docker.engine"))
def workspace(subject: Subject) -> Finding:
    """Whether containers get to a local workspace on this machine."""
    endpoint = subject.endpoint
    if endpoint is None:
        return skipped("there is no local workspace to reach")
    address, port = host_address(), urlsplit(endpoint.proxy_url).port or 80
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1.0):
        return ok(f"its proxy listens for containers, at {address}:{port}")
    where = f"--data-dir {quote(str(endpoint.data_dir))}"
    return failed(
        f"its proxy does not listen at {address}:{port}, where containers look for it",
        f"dqctl workspace stop {where}; dqctl workspace start {where} --proxy-address {address}",
    )


def describe(subject: Subject) -> dict[str, Any]:
    """The engine, and the stack's containers, networks and volumes, as the engine itself describes them."""
    api = client()
    label: dict[str, str | list[str] | bool] = {"label": f"{PROJECT_LABEL}={compose.project(subject.paths)}"}
    found: dict[str, Any] = {"version": api.version(), "info": api.info()}
    for container in api.containers.list(all=True, filters=label, ignore_removed=True):
        found[f"container-{container.name}"] = container.attrs
    for network in api.networks.list(filters=label):
        found[f"network-{network.name}"] = network.attrs
    for volume in api.volumes.list(filters=label):
        found[f"volume-{volume.name}"] = volume.attrs
    return found


SERVER_CHECKS = (postgres,)
CHECKS = (testgen, scheduler, controller, monitoring, images, definition, workspace)
