"""What an install would do, without doing any of it: for ``install --dry-run``."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from dqctl.errors import EnvironmentFault
from dqctl.redaction import redact
from dqctl.runtime import environments, postgres_programs
from dqctl.services.install import require_possible, require_runtime
from dqctl.services.install_local import wanted_version
from dqctl.services.lakebase import Store, project_of, require_tls, wanted_store
from dqctl.services.target import why_off
from dqctl.settings import Settings
from dqctl.stack import remembered
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record
from dqctl.stack.secrets import missing_secrets


@dataclass(frozen=True)
class InstallPlan:
    """``steps`` are what would be done, in order; none, when there is nothing to do.

    ``diffs`` holds a unified diff for each file that would change, secrets taken out.
    """

    stack: str
    runtime: str
    steps: tuple[str, ...]
    diffs: Mapping[str, str]


def plan_install(
    settings: Settings,
    *,
    runtime: Literal["local", "docker"],
    version: str | None = None,
    remember: Mapping[str, str] | None = None,
) -> InstallPlan:
    """The plan of the same install. Raises what that would raise before its first step."""
    paths = StackPaths(settings.home, settings.stack)
    before = read_record(paths)
    require_possible(settings, runtime)
    require_runtime(paths, before, runtime)
    remembered.check(remember or {})
    steps = [f"make secrets: {', '.join(names)}"] if (names := missing_secrets(paths)) else []
    diffs: dict[str, str] = {}
    if wanted_store(settings, before) == "lakebase":
        steps += _lakebase(settings, before)
    if runtime == "docker":
        steps += _docker(settings, paths, before, version, diffs)
    else:
        steps += _local(paths, before, version, wanted_store(settings, before))
    if before is None and settings.metadata != "lakebase" and why_off(settings, None) is None:
        steps.append("restore the state that Databricks has of a stack of this name, if it has any")
    if not (before and before.installed):
        steps.append("set the metadata database up, unless it is")
    if changed := remembered.changed(paths.settings, remember or {}):
        steps.append(f"remember settings: {', '.join(changed)}")
    return InstallPlan(settings.stack, runtime, tuple(steps), diffs)


def _local(paths: StackPaths, before: StackRecord | None, version: str | None, store: Store) -> Iterator[str]:
    if version is not None:
        environments.check_version(version)
    wanted = wanted_version(before, version)
    own = store == "disposable"
    if not own:
        require_tls(wanted)
    if own and not postgres_programs.location(paths.environments).is_dir():
        yield f"install PostgreSQL {postgres_programs.VERSION} in {paths.environments}"
    if before and before.testgen_version != wanted:
        yield f"leave TestGen {before.testgen_version}, unless there is data of it"
    if not environments.environment(paths.environments, wanted).is_complete:
        yield f"install TestGen {wanted} in {paths.environments}"
    if own and not (paths.postgres / "PG_VERSION").exists():
        yield f"make a database cluster in {paths.postgres}"


def _lakebase(settings: Settings, before: StackRecord | None) -> Iterator[str]:
    project = project_of(settings, before)
    if before and before.lakebase and before.lakebase.host:
        return
    branch = f"branch {settings.lakebase_branch}" if settings.lakebase_branch else "default branch"
    yield f"find the Lakebase project {project}, or make it: 0.5 to 1 CU, asleep after 30 minutes"
    yield f"make the role testgen and the database postgres in its {branch}, unless they are there"


def _docker(
    settings: Settings,
    paths: StackPaths,
    before: StackRecord | None,
    version: str | None,
    diffs: dict[str, str],
) -> Iterator[str]:
    # Imported when it is needed: a local stack has no use for the engine's SDK.
    from dqctl.runtime import compose
    from dqctl.runtime.images import is_here
    from dqctl.services.install_docker import (
        controller_reference,
        monitoring_references,
        references,
        require_own_project,
    )
    from dqctl.stack.images import read_images

    compose.compose_version()
    require_own_project(paths)
    pinned = read_images(paths)
    watching = monitoring_references(settings)
    olds = (pinned.engine, pinned.postgres, pinned.controller) if pinned else (None, None, None)
    for reference, old in zip(
        (*references(settings, pinned, before, version), controller_reference(settings), *watching.values()),
        (*olds, *(pinned.monitoring.get(service) if pinned else None for service in watching)),
        strict=True,
    ):
        if reference is None:
            continue
        known = old if old and old.reference == reference and settings.pull != "always" else None
        if not is_here(known.id if known else reference):
            yield f"pull {reference}"
        if known is None:
            yield f"pin {reference}"
            pinned = None
    if pinned is None:
        yield f"write the Compose project {compose.project(paths)} and start it"
        return
    try:
        files = compose.render_files(paths, settings, pinned)
    except EnvironmentFault:  # secrets that are still to be made
        yield f"write the Compose project {compose.project(paths)} and start it"
        return
    for path in files.differing():
        diffs[str(path)] = _diff(path.read_text(encoding="utf-8") if path.exists() else "", files.content[path][0])
    if diffs:
        yield f"write {', '.join(sorted(diffs))} and converge the containers that differ"


def _diff(old: str, new: str) -> str:
    lines = difflib.unified_diff(
        redact(old).splitlines(keepends=True), redact(new).splitlines(keepends=True), "as it is", "as it would be"
    )
    return "".join(lines)
