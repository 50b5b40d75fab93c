"""Making an ephemeral stack: TestGen's side in this thread, that of the data in another."""

import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from dqctl.clock import Clock
from dqctl.databricks.target import Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DqctlError
from dqctl.progress import Progress
from dqctl.services import declare, tables
from dqctl.services.ci import seeding, throw_away
from dqctl.services.ci.environment import environment_of, remembered
from dqctl.services.ci.seeding import Loaded
from dqctl.services.ci.seeds import Seeds
from dqctl.services.ci.up import EphemeralStack, Wanted
from dqctl.services.install import install
from dqctl.services.target import find_target
from dqctl.stack.record import ThrowAway
from dqctl.tables.sql import Place
from dqctl.testgen.systems.declaration import Declaration

log = logging.getLogger(__name__)

_APPLY = 300.0  # seconds
# Seconds for a workspace that does not answer. One of the stack's own that is gone was taken down, and whoever did
# that waits: CI systems that cancel a job kill it after 10 s.
_PATIENCE = 0.5

Begin = Callable[[Callable[[], Any]], "Future[Any]"]


def make(
    stack: EphemeralStack,
    wanted: Wanted,
    found: Seeds | None,
    place: "Future[Any]",
    begin: Begin,
    progress: Progress,
    clock: Clock,
) -> EphemeralStack:
    """Install, apply, and have the other thread load the seeds as soon as it has the ``place`` for them."""
    moved = _moved(stack, found)

    def target() -> Target:
        reached = find_target(stack.settings)
        return reached if stack.record.databricks else replace(reached, patience=_PATIENCE)

    def load() -> tuple[Loaded, ...]:
        if not (found and found.files):
            return ()
        with Warehouse(target(), clock, progress) as warehouse:
            return seeding.load(warehouse, found, moved, stack.settings.catalog, progress)

    def adapted(declared: Declaration) -> Declaration:
        """It tells nobody, and looks where the seeds are."""
        silent = declared.model_copy(update={"alerts": None})
        return throw_away.elsewhere(silent, stack.settings.catalog, moved)

    def prepare() -> None:
        """What a publish makes first, while TestGen begins."""
        try:
            with Warehouse(target(), clock, progress) as warehouse:
                results = Place(warehouse.target.catalog, warehouse.target.schema)
                tables.ensure(warehouse, results, progress)
        except DqctlError as error:
            log.info("the tables are left to the publish: %s", error.message)

    loaded = begin(load)
    # A command may publish, or not; all tests do.
    prepared = begin(prepare) if wanted.systems and wanted.owned and not wanted.command else None
    install(
        stack.settings,
        runtime=wanted.runtime,
        version=wanted.version,
        remember=remembered(stack.settings, stack.record),
        throw_away=ThrowAway(labels=throw_away.labels(stack.record, stack.paths, owned=wanted.owned)),
        progress=progress,
        clock=clock,
    )
    place.result()
    if wanted.systems:
        declare.apply_file(
            stack.settings,
            wanted.systems,
            environment=os.environ,
            timeout=_APPLY,
            progress=progress,
            adapt=adapted,
        )
    content = loaded.result()
    if prepared:
        prepared.result()
    plain, secret = environment_of(stack.settings, stack.paths, stack.record)
    return replace(stack, environment=plain, secrets=secret, loaded=content)


def _moved(stack: EphemeralStack, found: Seeds | None) -> Mapping[str, str]:
    """Schemas of the seeds that have another name there."""
    if stack.record.databricks is None or found is None:
        return {}
    return {each: throw_away.of_seeds(stack.name, each) for each in found.schemas}
