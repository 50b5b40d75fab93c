"""How long a stack cannot be used while it is upgraded, beside TestGen's own upgrade of the same metadata."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import metadata, open_runtime, runtime_of
from dqctl.services.upgrade import upgrade
from dqctl.settings import Settings
from local.conftest import _homes, copied_stack, environments_cache, install_version, seed  # noqa: F401 - fixtures

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

NEW = "5.134.0"
CEILING = 1.5


@pytest.mark.parametrize("version", ["5.33.3", "5.92.2"])
def test_downtime_beside_testgens_own_upgrade(
    copied_stack: Callable[[str], Settings],  # noqa: F811 - pytest's way
    install_version: Callable[[str], Path],  # noqa: F811
    version: str,
    record: Record,
) -> None:
    install_version(NEW)
    settings = copied_stack(version)
    runtime = open_runtime(settings, silent)
    with runtime.postgres.connect("postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE own TEMPLATE {metadata.DATABASE}".encode())
    newer = runtime.record.model_copy(update={"testgen_version": NEW})
    started = time.monotonic()
    completed = runtime_of(runtime.paths, newer, silent, upgrading=True).run(
        ["upgrade-system-version"], deadline=Deadline(300), environment={"TG_METADATA_DB_NAME": "own"}
    )
    own = time.monotonic() - started
    assert completed.exit_code == 0, completed.stdout
    begun = time.monotonic()
    story = upgrade(settings, to=NEW, progress=silent)
    whole = time.monotonic() - begun
    assert story.result == "upgraded"
    assert story.downtime is not None
    record(f"upgrade-system-version from {version}", own, "s")
    record(f"downtime of dqctl upgrade from {version}", story.downtime, "s", of_own=round(story.downtime / own, 2))
    record(
        f"dqctl upgrade from {version}",
        whole,
        "s",
        steps={each.name: round(each.seconds, 2) for each in story.steps},
    )
    assert story.downtime <= CEILING * own
