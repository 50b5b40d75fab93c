"""``install``, ``uninstall`` and ``status``.

Long because every setting of a stack is an option of ``install``, with its help.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.addressed import addressed
from dqctl.cli.context import context
from dqctl.cli.options import Catalog, Schema, Wait, Workspace
from dqctl.cli.output import cell, emit, plain, table
from dqctl.report.words import counted, moment

if TYPE_CHECKING:
    from dqctl.services.install_plan import InstallPlan
    from dqctl.services.status import Status

# What install remembers for the commands after it; secrets are not among it.
_REMEMBERED = (
    "workspace", "catalog", "schema_name", "databricks_host", "databricks_warehouse_id", "http_path",
    "databricks_config_profile", "warehouse_name", "start_warehouse",
    "metadata", "lakebase_project", "lakebase_branch", "lakebase_ca",
    "image", "postgres_image", "registry", "memory", "network", "ca_bundle", "publish_port", "scheduler",
    "controller", "controller_run", "controller_image", "controller_socket", "controller_credential",
    "monitoring", "prometheus_image", "alertmanager_image", "grafana_image",
    "prometheus_port", "alertmanager_port", "grafana_port", "alertmanager_config",
)  # fmt: skip


class Runtime(StrEnum):
    """Where TestGen's processes run."""

    DOCKER = "docker"
    LOCAL = "local"


class Metadata(StrEnum):
    """Where TestGen's metadata lives."""

    DISPOSABLE = "disposable"
    LAKEBASE = "lakebase"


class Pull(StrEnum):
    """When images are pulled."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


class Beside(StrEnum):
    """What may stand beside a stack."""

    MONITORING = "monitoring"


_DOCKER = "Docker"
_MONITORING = "Monitoring"
_LAKEBASE = "Lakebase"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: dqctl install --workspace /srv/workspace")(install)
    app.command(epilog="Example: dqctl uninstall --purge")(uninstall)
    app.command(epilog="Example: dqctl --output json status")(status)


def install(
    runtime: Annotated[
        Runtime | None,
        typer.Option(
            help="Where TestGen runs (DQCTL_RUNTIME) [default: what the stack has, else docker if it answers]"
        ),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Version of TestGen [default: the newest known]")] = None,
    workspace: Workspace = None,
    catalog: Catalog = None,
    schema: Schema = None,
    host: Annotated[str | None, typer.Option(help="Databricks host (DATABRICKS_HOST)")] = None,
    warehouse_id: Annotated[str | None, typer.Option(help="SQL warehouse (DATABRICKS_WAREHOUSE_ID)")] = None,
    http_path: Annotated[str | None, typer.Option(help="SQL warehouse, by HTTP path (DQCTL_HTTP_PATH)")] = None,
    warehouse: Annotated[str | None, typer.Option(help="SQL warehouse, by name (DQCTL_WAREHOUSE)")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile of ~/.databrickscfg (DATABRICKS_CONFIG_PROFILE)")
    ] = None,
    start_warehouse: Annotated[
        bool | None,
        typer.Option(
            "--start-warehouse/--no-start-warehouse",
            help="Whether a stopped SQL warehouse is started (DQCTL_START_WAREHOUSE) [default: yes]",
        ),
    ] = None,
    postgres_account: Annotated[
        str | None, typer.Option(help="As root: account that PostgreSQL runs as (DQCTL_POSTGRES_ACCOUNT)")
    ] = None,
    metadata: Annotated[
        Metadata | None,
        typer.Option(
            help="Where TestGen's metadata lives (DQCTL_METADATA) [default: what the stack has, else disposable]",
            rich_help_panel=_LAKEBASE,
        ),
    ] = None,
    lakebase_project: Annotated[
        str | None,
        typer.Option(
            help="Project, made unless it is there (DQCTL_LAKEBASE_PROJECT) [default: dqctl-STACK]",
            rich_help_panel=_LAKEBASE,
        ),
    ] = None,
    lakebase_branch: Annotated[
        str | None,
        typer.Option(
            help="Branch, which is there (DQCTL_LAKEBASE_BRANCH) [default: the project's]",
            rich_help_panel=_LAKEBASE,
        ),
    ] = None,
    lakebase_ca: Annotated[
        Path | None,
        typer.Option(
            help="Certificates it is checked with (DQCTL_LAKEBASE_CA) [default: the system's]",
            rich_help_panel=_LAKEBASE,
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(help="TestGen's image (DQCTL_IMAGE) [default: the stock one]", rich_help_panel=_DOCKER),
    ] = None,
    postgres_image: Annotated[
        str | None, typer.Option(help="PostgreSQL's image (DQCTL_POSTGRES_IMAGE)", rich_help_panel=_DOCKER)
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(help="Registry that stock images come from (DQCTL_REGISTRY)", rich_help_panel=_DOCKER),
    ] = None,
    pull: Annotated[
        Pull | None,
        typer.Option(help="When images are pulled (DQCTL_PULL) [default: missing]", rich_help_panel=_DOCKER),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Limit of TestGen's memory (DQCTL_MEMORY) [default: 2g]", rich_help_panel=_DOCKER),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="An existing network to join too (DQCTL_NETWORK)", rich_help_panel=_DOCKER)
    ] = None,
    ca_bundle: Annotated[
        Path | None,
        typer.Option(help="Certificates that TestGen trusts (DQCTL_CA_BUNDLE)", rich_help_panel=_DOCKER),
    ] = None,
    publish_port: Annotated[
        int | None,
        typer.Option(help="Publish PostgreSQL on 127.0.0.1 (DQCTL_PUBLISH_PORT)", rich_help_panel=_DOCKER),
    ] = None,
    scheduler: Annotated[
        bool | None,
        typer.Option(
            "--scheduler/--no-scheduler",
            help="TestGen's scheduler, all the time (DQCTL_SCHEDULER)",
            rich_help_panel=_DOCKER,
        ),
    ] = None,
    controller: Annotated[
        bool | None,
        typer.Option(
            "--controller/--no-controller",
            help="A container of dqctl itself, for docker compose run (DQCTL_CONTROLLER)",
            rich_help_panel=_DOCKER,
        ),
    ] = None,
    controller_run: Annotated[
        bool | None,
        typer.Option(
            "--controller-run/--no-controller-run",
            help="That container all the time, as the sidecar: dqctl controller run (DQCTL_CONTROLLER_RUN)",
            rich_help_panel=_DOCKER,
        ),
    ] = None,
    controller_image: Annotated[
        str | None, typer.Option(help="Its image (DQCTL_CONTROLLER_IMAGE)", rich_help_panel=_DOCKER)
    ] = None,
    controller_socket: Annotated[
        bool | None,
        typer.Option(
            "--controller-socket/--no-controller-socket",
            help="Let it use the engine's socket: root on this machine (DQCTL_CONTROLLER_SOCKET)",
            rich_help_panel=_DOCKER,
        ),
    ] = None,
    controller_credential: Annotated[
        Path | None,
        typer.Option(
            help="File with the token, or with a client id its secret, that it signs in with "
            "(DQCTL_CONTROLLER_CREDENTIAL)",
            rich_help_panel=_DOCKER,
        ),
    ] = None,
    with_: Annotated[
        list[Beside] | None,
        typer.Option(
            "--with",
            help="Prometheus, Alertmanager and Grafana beside the stack (DQCTL_MONITORING); turns --controller on",
            rich_help_panel=_MONITORING,
        ),
    ] = None,
    without: Annotated[
        list[Beside] | None,
        typer.Option("--without", help="Take them away; their data stays", rich_help_panel=_MONITORING),
    ] = None,
    prometheus_image: Annotated[
        str | None,
        typer.Option(help="Prometheus' image (DQCTL_PROMETHEUS_IMAGE)", rich_help_panel=_MONITORING),
    ] = None,
    alertmanager_image: Annotated[
        str | None,
        typer.Option(help="Alertmanager's image (DQCTL_ALERTMANAGER_IMAGE)", rich_help_panel=_MONITORING),
    ] = None,
    grafana_image: Annotated[
        str | None,
        typer.Option(
            help="Grafana's image; none leaves it out (DQCTL_GRAFANA_IMAGE)", rich_help_panel=_MONITORING
        ),
    ] = None,
    prometheus_port: Annotated[
        int | None,
        typer.Option(
            help="Port on 127.0.0.1, 0: any (DQCTL_PROMETHEUS_PORT) [default: 9090]",
            rich_help_panel=_MONITORING,
        ),
    ] = None,
    alertmanager_port: Annotated[
        int | None,
        typer.Option(
            help="Port on 127.0.0.1, 0: any (DQCTL_ALERTMANAGER_PORT) [default: 9093]",
            rich_help_panel=_MONITORING,
        ),
    ] = None,
    grafana_port: Annotated[
        int | None,
        typer.Option(
            help="Port on 127.0.0.1, 0: any (DQCTL_GRAFANA_PORT) [default: 3000]", rich_help_panel=_MONITORING
        ),
    ] = None,
    alertmanager_config: Annotated[
        Path | None,
        typer.Option(
            help="Whom Alertmanager notifies, and how (DQCTL_ALERTMANAGER_CONFIG) [default: nobody]",
            rich_help_panel=_MONITORING,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, files as a diff; nothing is changed")
    ] = False,
    wait: Wait = None,
) -> None:
    """Install the stack, or bring it to what is asked for; again, there is nothing to do.

    Where results go is remembered for the commands after it, without secrets.
    """
    from dqctl.services.install import install as run
    from dqctl.services.install import usual_runtime

    here = context()
    given = {
        "workspace": workspace,
        "catalog": catalog,
        "schema_name": schema,
        "databricks_host": host,
        "databricks_warehouse_id": warehouse_id,
        "http_path": http_path,
        "databricks_config_profile": profile,
        "warehouse_name": warehouse,
        "start_warehouse": start_warehouse,
        "metadata": metadata.value if metadata else None,
        "lakebase_project": lakebase_project,
        "lakebase_branch": lakebase_branch,
        "lakebase_ca": lakebase_ca,
        "image": image,
        "postgres_image": postgres_image,
        "registry": registry,
        "memory": memory,
        "network": network,
        "ca_bundle": ca_bundle,
        "publish_port": publish_port,
        "scheduler": scheduler,
        "controller": controller,
        "controller_run": controller_run,
        "controller_image": controller_image,
        "controller_socket": controller_socket,
        "controller_credential": controller_credential,
        "monitoring": _wish(Beside.MONITORING, with_ or [], without or []),
        "prometheus_image": prometheus_image,
        "alertmanager_image": alertmanager_image,
        "grafana_image": grafana_image,
        "prometheus_port": prometheus_port,
        "alertmanager_port": alertmanager_port,
        "grafana_port": grafana_port,
        "alertmanager_config": alertmanager_config,
    }
    settings = here.settings_with(
        **given,
        runtime=runtime.value if runtime else None,
        pull=pull.value if pull else None,
        postgres_account=postgres_account,
        lock_timeout=wait,
    )
    remember = {name: str(getattr(settings, name)) for name in _REMEMBERED if given[name] is not None}
    kind = usual_runtime(settings, here.progress)
    if dry_run:
        from dqctl.services.install_plan import plan_install

        plan = plan_install(settings, runtime=kind, version=version, remember=remember)
        emit(plain(plan), lambda: _plan(plan))
        return
    report = run(settings, runtime=kind, version=version, remember=remember, progress=here.progress)

    def show() -> str:
        what = f"stack {report.stack}: TestGen {report.testgen_version}, PostgreSQL {report.postgres_version}"
        done = f"changed: {', '.join(report.changed)}" if report.changed else "nothing to do"
        return f"{what}, in {report.home}\n{done}"

    emit(plain(report), show)


def _wish(what: Beside, with_: list[Beside], without: list[Beside]) -> bool | None:
    """Whether it is wanted; None when nobody says."""
    return None if what not in with_ + without else what not in without


def _plan(plan: "InstallPlan") -> str:
    if not plan.steps:
        return f"stack {plan.stack} ({plan.runtime}): nothing to do"
    steps = "\n".join(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))
    diffs = "".join(f"\n{path}\n{diff}" for path, diff in plan.diffs.items())
    return f"stack {plan.stack} ({plan.runtime}) would:\n{steps}\n{diffs}".rstrip()


def uninstall(
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Remove state, history and secrets too, and what dqctl made in Lakebase"),
    ] = False,
    wait: Wait = None,
) -> None:
    """Stop the stack, and its schedules. What it knows stays, unless purged."""
    from dqctl.services.uninstall import uninstall as run

    here = context()
    report = run(here.settings_with(lock_timeout=wait), purge=purge, progress=here.progress)

    def show() -> str:
        if not report.changed and report.kept is None:
            return f"stack {report.stack}: nothing is installed"
        kept = f"; its state is kept in {report.kept}" if report.kept else "; nothing is left"
        where = f"; its metadata is kept in the Lakebase project {report.project}" if report.project else ""
        copies = f"; {counted(report.backups, 'backup')} in {report.kept}/backups" if report.backups else ""
        saved = (
            f"; what was saved in {report.state} stays, and needs the keys that are gone (docs/state.md)"
            if report.state
            else ""
        )
        names = f"; taken out of crontab or systemd: {', '.join(report.schedules)}" if report.schedules else ""
        return f"stack {report.stack} is uninstalled{kept}{copies}{where}{saved}{names}"

    emit(plain(report), show)


def status() -> None:
    """Show what is installed, what runs, and the last jobs."""
    from dqctl.services.status import status as run

    found = run(context().settings)
    emit(plain(found), lambda: _status(found))


def _status(found: "Status") -> str:
    if not found.installed:
        return addressed(f"stack {found.stack} is not installed in {found.home}; run: dqctl install")
    revision = f"{found.schema_revision} (expected {found.expected_revision})"
    where = f" on port {found.postgres_port}" if found.postgres_port else ""
    running = f"runs{where}" if found.postgres_running else "does not run"
    if found.lakebase:
        answers = "answers" if found.postgres_running else "does not answer"
        running = f"{found.lakebase}, {found.lakebase_state if found.postgres_running else answers}"
    else:
        running = f"{found.postgres_version}, {running}"
    facts = {
        "stack": f"{found.stack} in {found.home}",
        "runtime": str(found.runtime),
        "healthy": cell(found.healthy),
        "TestGen": f"{found.testgen_version}, schema revision {revision}",
        "Lakebase" if found.lakebase else "PostgreSQL": running,
        "services": ", ".join(f"{name} {state}" for name, state in found.services.items()),
        "disk": f"{found.disk_bytes / 1e6:.0f} MB",
        "backup": f"{found.newest_backup}, {moment(found.newest_backup_at)}" if found.newest_backup else "none",
    }
    if found.monitoring:
        facts["monitoring"] = ", ".join(f"{name} {page}" for name, page in found.monitoring.items())
    if found.changing_to:
        facts["changing"] = f"to TestGen {found.changing_to}; if nobody does, the next command ends it"
    if found.rollback_to:
        facts["way back"] = addressed(
            f"to TestGen {found.rollback_to}: dqctl rollback; dqctl upgrade --forget frees its space"
        )
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
    if found.last_jobs:
        columns = {"kind": "last jobs", "status": "status", "started": "started", "job_id": "id"}
        lines += ["", table([plain_row(job) for job in found.last_jobs], columns, "")]
    return "\n".join(lines)


def plain_row(record: object) -> dict[str, object]:
    """A dataclass as a row of a table."""
    return dict(vars(record))
