"""Making TestGen have what a systems file declares: a plan first, then the plan's changes in one transaction."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dqctl.alerts.rules import Alerting
from dqctl.clock import Deadline
from dqctl.progress import Progress, silent
from dqctl.redaction import reveal
from dqctl.runtime import Runtime
from dqctl.services.keys import keys_of
from dqctl.testgen.alerting import store
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.driver import ask
from dqctl.testgen.systems import alerts_plan, document, verdicts
from dqctl.testgen.systems import plan as planning
from dqctl.testgen.systems.declaration import Declaration
from dqctl.testgen.systems.described import Kind, Part, describe
from dqctl.testgen.systems.flavors import PASSWORD, WorkspaceAccess
from dqctl.testgen.systems.plan import Action, Change, Difference, Plan
from dqctl.testgen.systems.references import SecretScopes, Sources
from dqctl.testgen.systems.wanted import Wanted, unwanted, wanted

__all__ = ["Action", "Applied", "Change", "Difference", "Plan", "WorkspaceAccess", "apply", "plan"]


Adapt = Callable[[Declaration], Declaration]

_ALERTS = (Kind.ALERT_ROUTE, Kind.ALERT_RULE)


@dataclass(frozen=True)
class _Prepared:
    """A plan and what it is made of; ``alerting`` is None where the file says nothing about alerts."""

    plan: Plan
    parts: tuple[Wanted, ...]
    alerting: Alerting | None


@dataclass(frozen=True)
class Applied:
    """A plan, and whether it was carried out: not in a dry run, and not when there was nothing to do."""

    plan: Plan
    changed: bool


def plan(
    runtime: Runtime,
    file: Path,
    *,
    access: WorkspaceAccess | None,
    environment: Mapping[str, str],
    deadline: Deadline,
    scopes: SecretScopes | None = None,
) -> Plan:
    """What ``apply`` would do. ``access`` is the stack's own workspace; ``environment`` and ``scopes`` are where
    secrets may be.
    """
    sources = Sources(environment=environment, base=file.parent, scopes=scopes)
    return _prepare(runtime, document.read(file), access, sources, deadline).plan


def apply(
    runtime: Runtime,
    file: Path,
    *,
    access: WorkspaceAccess | None,
    environment: Mapping[str, str],
    deadline: Deadline,
    scopes: SecretScopes | None = None,
    adapt: Adapt = lambda declared: declared,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Applied:
    """Carry out the plan; call it under ``jobs.exclusive``. The second time there is nothing to do.

    ``adapt`` may change what the file declares before anything is made of it.

    Raises ``UsageError`` for a file that is wrong or asks for what cannot be done, ``TestGenFailed`` when TestGen
    refuses; then nothing was changed.
    """
    sources = Sources(environment=environment, base=file.parent, scopes=scopes)
    made = _prepare(runtime, adapt(document.read(file)), access, sources, deadline)
    prepared = made.plan
    if dry_run or not prepared.changes:
        return Applied(prepared, changed=False)
    by_key = {(part.kind, part.system, part.name): part for part in made.parts}
    steps = [
        _step(action, by_key.get((action.kind, action.system, action.name)))
        for action in prepared.changes
        if action.kind not in _ALERTS
        and not (action.change is Change.UPDATE and all(_is_ours(each) for each in action.differences))
    ]

    def hear(said: str, content: Mapping[str, Any]) -> None:
        if said == "step":
            progress(f"{content['change']} {Kind(content['kind']).word} {content['name']}")

    if steps:
        ask(runtime, [{"verb": "provision", "steps": steps}], deadline=deadline, on_event=hear)
    # After it, since a suite must be there: killed between the two, the next time finds what is left to do.
    if ours := _verdicts(prepared):
        with runtime.metadata() as connection:
            verdicts.write(connection, ours)
    if made.alerting is not None and any(action.kind in _ALERTS for action in prepared.changes):
        with runtime.metadata() as connection:
            store.write(connection, keys_of(runtime.paths), made.alerting)
    return Applied(prepared, changed=True)


def _is_ours(difference: Difference) -> bool:
    return difference.column == verdicts.FAIL_ON


def _verdicts(prepared: Plan) -> dict[tuple[str, str], str | None]:
    """What dqctl keeps itself, of the suites of which it changes."""
    return {
        (action.system, action.name): each.after
        for action in prepared.changes
        if action.kind is Kind.SUITE
        for each in action.differences
        if _is_ours(each)
    }


def _prepare(
    runtime: Runtime,
    declaration: Declaration,
    access: WorkspaceAccess | None,
    sources: Sources,
    deadline: Deadline,
) -> _Prepared:
    parts = wanted(declaration, sources, access, capabilities(runtime.version))
    alerting = None if declaration.alerts is None else declaration.alerts.alerting(sources)
    existing = describe(runtime)
    key = secrets.token_bytes(32)
    stored: planning.Fingerprints = {}
    if _shares_connections(parts, existing):
        question = {"verb": "fingerprint", "key": key.hex(), "columns": [PASSWORD]}
        (answer,) = ask(runtime, [question], deadline=deadline)
        stored = answer["fingerprints"]

    def fingerprint(secret: SecretStr) -> str:
        return hmac.new(key, reveal(secret).encode(), hashlib.sha256).hexdigest()

    planned = planning.plan(parts, unwanted(declaration), existing, stored, fingerprint)
    return _Prepared(_with_alerts(runtime, planned, alerting), parts, alerting)


def _with_alerts(runtime: Runtime, planned: Plan, alerting: Alerting | None) -> Plan:
    if alerting is None:
        return planned
    with runtime.metadata() as connection:
        now = store.read(connection, keys_of(runtime.paths))
    return Plan((*planned.actions, *alerts_plan.plan(alerting, now.alerting, now.lost)), planned.left_alone)


def _shares_connections(parts: tuple[Wanted, ...], existing: tuple[Part, ...]) -> bool:
    """Whether a secret may have to be compared; it costs a start of TestGen's Python."""
    systems = {name for part in parts if part.kind is Kind.SYSTEM for name in (part.system, part.renamed_from)}
    return any(part.kind is Kind.CONNECTION and part.system in systems for part in existing)


def _step(action: Action, part: Wanted | None) -> dict[str, Any]:
    step: dict[str, Any] = {
        "change": action.change,
        "kind": action.kind,
        "system": action.system,
        "name": action.name,
        "renamed_from": action.renamed_from,
    }
    if part and action.change in (Change.CREATE, Change.UPDATE):
        every = {**part.values, **{column: reveal(secret) for column, secret in part.secrets.items()}}
        differing = {difference.column for difference in action.differences}
        # A new row takes the empty ones too: TestGen's models have defaults of their own.
        whole = action.change is Change.CREATE
        step["values"] = {
            column: value
            for column, value in every.items()
            if column != verdicts.FAIL_ON and (whole or column in differing)
        }
        step["parents"] = {"connection": part.parent, "table_group": part.parent}
    return step
