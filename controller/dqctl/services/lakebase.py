"""Lakebase as the place of a stack's metadata: found or made, with a role of the stack's own, and taken away."""

import uuid
from typing import Literal

from dqctl.clock import Clock
from dqctl.databricks.lakebase import Lakebase
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import Progress
from dqctl.runtime.lakebase import LakebaseServer, ensure_role, find_ca_file, lakebase_server, remove_role
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import LakebaseRecord, StackRecord, write_record
from dqctl.stack.secrets import read_secret
from dqctl.testgen.capabilities import KNOWN, capabilities

Store = Literal["disposable", "lakebase"]


def wanted_store(settings: Settings, before: StackRecord | None) -> Store:
    """Where the metadata is to live; ``UsageError`` when the stack has it elsewhere, and it would not follow."""
    if before is None or settings.metadata in (None, before.metadata):
        return before.metadata if before else settings.metadata or "disposable"
    raise UsageError(
        f"the metadata of stack {settings.stack!r} is {before.metadata}, {settings.metadata} was asked for",
        "nothing was changed: use another --stack, or dqctl uninstall --purge this one first",
    )


def project_of(settings: Settings, before: StackRecord | None) -> str:
    """The id of the stack's project; ``UsageError`` when it has another one."""
    known = before.lakebase.project if before and before.lakebase else None
    wanted = settings.lakebase_project
    if known and wanted and wanted != known:
        raise UsageError(
            f"the metadata of stack {settings.stack!r} is in the Lakebase project {known}, {wanted} was asked for",
            "nothing was changed: use another --stack, or dqctl uninstall --purge this one first",
        )
    return known or wanted or f"dqctl-{settings.stack}"


def require_tls(version: str) -> None:
    """``UsageError`` for a TestGen that cannot verify whom it gives its metadata to."""
    if not capabilities(version).metadata_over_tls:
        raise UsageError(
            f"TestGen {version} cannot verify the certificate of a metadata database",
            f"use {KNOWN[0].version} or newer with Lakebase, or --metadata disposable",
        )


def ensure_lakebase(
    settings: Settings,
    paths: StackPaths,
    record: StackRecord,
    changed: list[str],
    progress: Progress,
    clock: Clock,
) -> StackRecord:
    """Have the project, the endpoint and the role; the record that says where, written before each step.

    Nobody is asked when the role is let in already. Raises ``UsageError`` for a project that is not fit, and what
    Databricks says (``DatabricksRefused``, ``EnvironmentFault``).
    """
    project_id = project_of(settings, record)
    found = record.lakebase or LakebaseRecord(project=project_id)
    password = read_secret(paths, "postgres_password")
    if found.host and _lets_in(lakebase_server(found, password)):
        return record

    def keep(lakebase: LakebaseRecord) -> StackRecord:
        kept = record.model_copy(update={"lakebase": lakebase, "updated": clock.now()})
        write_record(paths, kept)
        return kept

    target = find_target(settings)
    lakebase = Lakebase(target, clock)
    project = lakebase.project(project_id)
    if project is None:
        found = found.model_copy(update={"mark": found.mark or str(uuid.uuid4())})
        keep(found)
        project = lakebase.create_project(project_id, settings.stack, str(found.mark), progress)
        changed.append("Lakebase project")
    if project.mark != found.mark:  # somebody else was quicker, or it was there before
        found = found.model_copy(update={"mark": None})
    if not project.native_login:
        raise UsageError(
            f"the Lakebase project {project_id} lets no role in with a password",
            "nothing was changed: allow it (enable_pg_native_login) in its settings, or name another project with "
            "--lakebase-project",
        )
    endpoint = lakebase.endpoint(project, settings.lakebase_branch, progress)
    where = {"endpoint": endpoint.name, "host": endpoint.host, "port": endpoint.port}
    found = found.model_copy(update=where | {"ca_file": target.ca_file or find_ca_file(settings.lakebase_ca)})
    record = keep(found)
    progress(f"connecting to {endpoint.name}, which may have to wake")
    server = lakebase_server(found, password)
    if ensure_role(server, lakebase.credential(endpoint.name)):
        changed.append("Lakebase role")
    return record


def remove_lakebase(settings: Settings, paths: StackPaths, record: StackRecord, progress: Progress) -> str | None:
    """Take away what dqctl made in Databricks; what that was, in words, None when there is nothing.

    The whole project where dqctl made it, else the stack's databases and its role.
    """
    if record.lakebase is None:
        return None
    found = record.lakebase
    lakebase = Lakebase(find_target(settings))
    project = lakebase.project(found.project)
    if project is None:
        return None
    if found.mark and project.mark == found.mark:
        progress(f"removing the Lakebase project {found.project}, which dqctl made")
        lakebase.delete_project(found.project)
        return f"Lakebase project {found.project}"
    if found.host is None or found.endpoint is None:
        return None
    try:
        server = lakebase_server(found, read_secret(paths, "postgres_password"))
    except EnvironmentFault:
        progress(
            f"the stack's password is lost: nothing proves that databases and role in the Lakebase project "
            f"{found.project} are its own, and they stay"
        )
        return None
    if not _lets_in(server):
        return None
    progress(f"removing the stack's databases and its role from the Lakebase project {found.project}")
    remove_role(server, lakebase.credential(found.endpoint))
    return f"databases and role in the Lakebase project {found.project}"


def _lets_in(server: LakebaseServer) -> bool:
    try:
        server.connect("postgres").close()
    except EnvironmentFault:
        return False
    return True
