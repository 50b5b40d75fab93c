"""The steps of an install that are the docker runtime's: images found and pinned, the Compose project written."""

import contextlib
import os

import dqctl
from dqctl.clock import Clock
from dqctl.databricks.profile import read_profile
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import Progress
from dqctl.runtime import Runtime, alertmanager_config, compose, engine, monitoring, runtime_of
from dqctl.runtime.images import find_images
from dqctl.runtime.monitoring import GRAFANA_PASSWORD
from dqctl.services.lakebase import ensure_lakebase, project_of, require_tls, wanted_store
from dqctl.services.standstill import leave_version, standstill
from dqctl.settings import Settings
from dqctl.stack.images import Images, read_images, write_images
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import LakebaseRecord, StackRecord, ThrowAway, read_record, write_record
from dqctl.stack.secrets import ensure_secret, ensure_secrets, missing_secrets
from dqctl.testgen.capabilities import KNOWN, capabilities

STOCK = "datakitchen/dataops-testgen:v{version}"
POSTGRES = "postgres:16"
CONTROLLER = f"dqctl/controller:{dqctl.__version__}"
MONITORING = {
    "prometheus": "prom/prometheus:v3.5.0",
    "alertmanager": "prom/alertmanager:v0.28.1",
    "grafana": "grafana/grafana:12.1.0",
}

WITHOUT_GRAFANA = ("grafana", "none")

# Secrets without which what is stored can neither be reached nor decrypted; others can be made anew at any time.
_OF_DATA = ("postgres_password", "decrypt_salt", "decrypt_password")


def converge(
    settings: Settings,
    paths: StackPaths,
    before: StackRecord | None,
    version: str | None,
    throw_away: ThrowAway | None,
    changed: list[str],
    progress: Progress,
    clock: Clock,
) -> Runtime:
    """All that has to stand before the containers can be started; what was done is added to ``changed``."""
    compose.compose_version()
    require_own_project(paths)
    watching = monitoring_references(settings)
    if ensure_secrets(paths) + (ensure_secret(paths, GRAFANA_PASSWORD) if "grafana" in watching else ()):
        changed.append("secrets")
    pinned = read_images(paths)
    check_controller(settings)
    store = wanted_store(settings, before)
    testgen, postgres = references(settings, pinned, before, version)
    wanted = controller_reference(settings)
    images = find_images(
        testgen,
        postgres,
        wanted,
        watching,
        pinned=pinned,
        kept=paths.environments if throw_away else None,
        pull=settings.pull,
        progress=progress,
    )
    if version and images.engine.version != version:
        raise UsageError(
            f"{testgen} holds TestGen {images.engine.version}, {version} was asked for",
            "leave --version away, or name another image with --image",
        )
    capabilities(images.engine.version)  # refuses what is too old
    if pinned:
        _leave(settings, paths, before, pinned, images, progress)
    record = _record(settings, before, images, throw_away, clock)
    if store == "lakebase":
        require_tls(images.engine.version)
        write_images(paths, images)  # the record comes next, and whoever reads it looks for them
        record = ensure_lakebase(settings, paths, record, changed, progress, clock)
        before = read_record(paths)
    compose.make_directories(paths)
    monitoring.make_directories(paths, images)
    files = compose.render_files(paths, settings, images, record)
    alertmanager_config.check(paths, settings, images, files, progress)
    runtime = runtime_of(paths, record, progress)
    new_record = before is None or record != before.model_copy(update={"updated": record.updated})
    if images == pinned and not new_record and not any(files.differing()):
        _start_monitoring(paths, images, changed)
        return runtime
    # Containers that differ are made anew, which would end a job inside; before the first install there are none.
    held = standstill(runtime, settings.lock_timeout, "dqctl install") if pinned else contextlib.nullcontext()
    with held:
        if images != pinned:
            write_images(paths, images)
            changed.append("images")
        if new_record:
            write_record(paths, record)
        if any(files.differing()):
            files.write()
            changed.append("Compose project")
            if runtime.start_postgres():
                changed.append("containers")
    monitoring.remove_unused(paths, images)
    _start_monitoring(paths, images, changed)
    return runtime


def require_own_project(paths: StackPaths) -> None:
    """The data that the engine has under the stack's name must be the stack's own, and its secrets be there.

    Raises ``UsageError`` when it is that of a stack of the same name in another home, ``EnvironmentFault`` when
    the stack's directory was deleted: new secrets would fit nothing that is stored.
    """
    project = compose.project(paths)
    owners = engine.owners(project)
    if others := owners - {str(paths.root)}:
        raise UsageError(
            f"this Docker engine has a stack {paths.name!r} already: that of {', '.join(sorted(others))}",
            "nothing was changed: give this one another name with --stack; or, if that one is gone for good, "
            f"remove its data: docker compose -p {project} down --volumes",
        )
    if owners and (lost := [name for name in missing_secrets(paths) if name in _OF_DATA]):
        raise EnvironmentFault(
            f"the engine has the data of stack {paths.name!r} (volume {project}_metadata), but its secrets are "
            f"gone: {', '.join(lost)}",
            f"nothing was changed. Put {paths.root} back from a backup and run dqctl install again; if there is "
            f"none, give the data up: docker compose -p {project} down --volumes",
        )


def references(
    settings: Settings, pinned: Images | None, before: StackRecord | None, version: str | None
) -> tuple[str, str | None]:
    """Names of the two images: what is set, else what the stack has, else the stock ones.

    With Lakebase there is no second one.
    """
    mirror = f"{settings.registry.rstrip('/')}/" if settings.registry else ""
    wanted = version or (before.testgen_version if before else KNOWN[0].version)
    testgen = settings.image or mirror + STOCK.format(version=wanted)
    if pinned and not settings.image and not settings.registry and wanted == pinned.engine.version:
        testgen = pinned.engine.reference
    if wanted_store(settings, before) == "lakebase":
        return testgen, None
    postgres = settings.postgres_image or mirror + POSTGRES
    if pinned and pinned.postgres and not settings.postgres_image and not settings.registry:
        postgres = pinned.postgres.reference
    return testgen, postgres


def controller_reference(settings: Settings) -> str | None:
    """Name of the controller's image: what is set, else what ``scripts/images`` builds; None without one."""
    return (settings.controller_image or CONTROLLER) if settings.controller else None


def monitoring_references(settings: Settings) -> dict[str, str]:
    """Names of the images of what watches the stack, by service: what is set, else the stock ones."""
    if not settings.monitoring:
        return {}
    mirror = f"{settings.registry.rstrip('/')}/" if settings.registry else ""
    given = {
        "prometheus": settings.prometheus_image,
        "alertmanager": settings.alertmanager_image,
        "grafana": settings.grafana_image,
    }
    found = {service: given[service] or mirror + stock for service, stock in MONITORING.items()}
    return {service: reference for service, reference in found.items() if (service, reference) != WITHOUT_GRAFANA}


def _start_monitoring(paths: StackPaths, images: Images, changed: list[str]) -> None:
    """Start what watches the stack. Other commands go on without it, an install says why it does not start."""
    if not images.monitoring:
        return
    before = engine.glance(compose.project(paths))
    compose.up(paths, *images.monitoring)
    if engine.glance(compose.project(paths)) != before and "containers" not in changed:
        changed.append("containers")


def check_controller(settings: Settings) -> None:
    """``UsageError`` for settings that no controller could work with."""
    if settings.controller_socket and not settings.controller:
        raise UsageError("the engine's socket is for a controller, and none is wanted", "add --controller")
    if settings.controller_run and not settings.controller:
        raise UsageError("a controller is to run all the time, and none is wanted", "add --controller")
    path = settings.controller_credential
    if settings.controller and path and not (path.is_file() and os.access(path, os.R_OK)):
        raise UsageError(
            f"the controller's credential {path} is no file that can be read",
            "check --controller-credential; the file is to be there whenever the controller is started",
        )
    if not settings.controller:
        return
    if settings.databricks_config_profile:
        read_profile(settings.databricks_config_profile, os.environ)
    elif path is None and os.environ.get("ARM_CLIENT_SECRET"):
        raise UsageError(
            "ARM_CLIENT_SECRET does not reach a controller: docker inspect would show it",
            "write azure_client_id, azure_client_secret and azure_tenant_id into a profile of ~/.databrickscfg, "
            "which is mounted, and name it with DATABRICKS_CONFIG_PROFILE; or use --controller-credential",
        )


def _leave(
    settings: Settings,
    paths: StackPaths,
    before: StackRecord | None,
    pinned: Images,
    images: Images,
    progress: Progress,
) -> None:
    """Refuse what the stack's data could not follow."""
    if images.postgres and pinned.postgres and _major(images.postgres.version) != _major(pinned.postgres.version):
        raise UsageError(
            f"the stack's data is of PostgreSQL {pinned.postgres.version}, {images.postgres.reference} is "
            f"{images.postgres.version}",
            f"nothing was changed: name an image of PostgreSQL {_major(pinned.postgres.version)} "
            "(--postgres-image), or use another --stack",
        )
    if before and images.engine.version != pinned.engine.version:
        leave_version(runtime_of(paths, before, progress), images.engine.version, settings.lock_timeout)


def _record(
    settings: Settings, before: StackRecord | None, images: Images, throw_away: ThrowAway | None, clock: Clock
) -> StackRecord:
    now = clock.now()
    return StackRecord(
        installed=before.installed if before and before.testgen_version == images.engine.version else False,
        runtime="docker",
        testgen_version=images.engine.version,
        postgres_version=images.postgres.version if images.postgres else "of Lakebase",
        postgres_port=settings.publish_port,
        postgres_account=None,
        scheduler=settings.scheduler,
        controller=settings.controller_run,
        lakebase=_lakebase(settings, before),
        throw_away=before.throw_away if before else throw_away,
        created=before.created if before else now,
        updated=now,
    )


def _lakebase(settings: Settings, before: StackRecord | None) -> LakebaseRecord | None:
    if wanted_store(settings, before) == "disposable":
        return None
    project = project_of(settings, before)
    return before.lakebase if before else LakebaseRecord(project=project)


def _major(version: str) -> str:
    return version.partition(".")[0]
