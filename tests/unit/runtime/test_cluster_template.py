"""When a kept cluster is taken, and when it goes; a directory with a file stands in for one."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.runtime.cluster_template import ClusterTemplate
from dqctl.runtime.local import LocalRuntime
from dqctl.stack.paths import StackPaths


@dataclass
class Server:
    """PostgreSQL, as far as a copy is made of its directory."""

    data: Path
    account: None = None
    refuses: list[str] = field(default_factory=list)

    def adopt(self, making: Path) -> None:
        if self.refuses:
            raise EnvironmentFault(self.refuses.pop(), "")
        making.rename(self.data)


@dataclass
class Local:
    paths: StackPaths
    postgres: Server
    calls: list[str] = field(default_factory=list)
    version: str = "5.134.0"
    environment = SimpleNamespace(fingerprint="some packages")
    record = SimpleNamespace(postgres_version="16")

    def up(self) -> None:
        self.calls.append("up")

    def down(self) -> None:
        self.calls.append("down")


@pytest.fixture
def stack(tmp_path: Path) -> Local:
    paths = StackPaths(tmp_path, "one")
    (paths.postgres / "log").mkdir(parents=True)
    (paths.postgres / "log" / "of-this-stack.log").touch()
    (paths.postgres / "PG_VERSION").write_text("16")
    paths.postgres.chmod(0o700)
    return Local(paths, Server(paths.postgres))


@pytest.fixture
def template(stack: Local) -> ClusterTemplate:
    return ClusterTemplate(cast("LocalRuntime", stack))


def another(stack: Local) -> ClusterTemplate:
    """That of a stack that has no cluster yet."""
    data = stack.paths.root.parent / "other" / "postgres"
    data.parent.mkdir(exist_ok=True)
    return ClusterTemplate(cast("LocalRuntime", Local(stack.paths, Server(data))))


def test_what_is_kept_without_logs_is_taken(stack: Local, template: ClusterTemplate) -> None:
    template.keep()
    assert stack.calls == ["down", "up"]
    other = another(stack)
    assert other.take()
    data = other.runtime.postgres.data
    assert (data / "PG_VERSION").read_text() == "16"
    assert list((data / "log").iterdir()) == []
    template.keep()
    assert stack.calls == ["down", "up"], "it is there"


def test_what_a_removal_that_was_killed_has_left_is_made_anew(stack: Local, template: ClusterTemplate) -> None:
    template.path.mkdir(parents=True)
    (template.path / "base").mkdir()
    assert not another(stack).take()
    template.keep()
    assert another(stack).take()


def test_what_does_not_fit_is_removed(stack: Local, template: ClusterTemplate) -> None:
    template.keep()
    other = another(stack)
    cast("Server", other.runtime.postgres).refuses.append("it is damaged")
    assert not other.take()
    assert list(template.path.parent.iterdir()) == []
    assert not list(other.runtime.postgres.data.parent.iterdir())


def test_a_stack_that_is_taken_down_meanwhile_says_nothing_about_what_is_kept(
    stack: Local, template: ClusterTemplate
) -> None:
    template.keep()
    other = another(stack)
    other.runtime.postgres.data.parent.rmdir()
    assert not other.take()
    assert another(stack).take()


def test_what_was_half_made_goes_when_nobody_makes_it_any_more(stack: Local, template: ClusterTemplate) -> None:
    young, old = (template.path.with_name(f".of-somebody.cluster.{age}") for age in ("young", "old"))
    for each in (young, old):
        (each / "base").mkdir(parents=True)
    os.utime(old, (time.time() - 7200,) * 2)
    template.keep()
    assert set(template.path.parent.iterdir()) == {template.path, young}
