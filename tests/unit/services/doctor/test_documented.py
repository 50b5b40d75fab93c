import re
from pathlib import Path

import pytest

from dqctl.services.doctor import (
    containers,
    databricks,
    engine,
    grants,
    lakebase,
    leftovers,
    machine,
    metadata,
    stack,
    state,
)
from dqctl.services.doctor.findings import Check

OPERATIONS = Path(__file__).parents[4] / "docs" / "operations.md"
CHECKS = (
    *machine.CHECKS,
    *stack.CHECKS,
    *stack.LOCAL_CHECKS,
    *metadata.CHECKS,
    *metadata.LOCAL_CHECKS,
    *state.CHECKS,
    *engine.CHECKS,
    *containers.CHECKS,
    *containers.SERVER_CHECKS,
    *lakebase.CHECKS,
    *databricks.CHECKS,
    *grants.CHECKS,
    *leftovers.CHECKS,
)


def test_every_check_is_documented_and_no_other() -> None:
    section = OPERATIONS.read_text(encoding="utf-8").partition("## When something is wrong")[2]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([\w.]+)`", "".join(rows))) == sorted(each.id for each in CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_check_needs_only_checks_that_there_are(check: Check) -> None:
    assert set(check.needs) <= {each.id for each in CHECKS}
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", check.id)
    assert check.look.__doc__
