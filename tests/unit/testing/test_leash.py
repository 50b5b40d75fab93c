"""What takes away what tests have started."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dqctl.services.ci import record
from dqctl.services.ci.record import CiPaths, Record
from dqctl.testing import leash
from dqctl.testing.holding import Held


def test_a_stack_goes_with_the_tests_also_from_a_home_that_is_named_from_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DQCTL_HOME", "home")
    now = datetime.now(UTC)
    made = Record(name="of-tests", runtime="local", owner=None, created=now, expires=now + timedelta(hours=1))
    record.create(CiPaths(tmp_path / "home", made.name), made)
    held = Held()
    leash.watch(held.directory, leash.Kind.STACK, made.name)
    held.end()
    leash.join(held.directory)
    assert record.names(tmp_path / "home") == ()
