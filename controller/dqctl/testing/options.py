"""What was asked of the plugin, on the command line and in the ini file; imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line and in the ini file; ``timeout`` is in seconds."""

    runtime: str
    stack: str | None
    seed: Path | None
    system: Path | None
    definitions: tuple[Path, ...]
    fail_on: str | None
    databricks: bool
    keep: bool
    timeout: float


def options_of(config: pytest.Config) -> Options:
    """The options, the command line first. ``pytest.UsageError`` for what cannot be."""

    def asked(name: str) -> Any:
        given = config.getoption(f"dq_{name}")
        return given if given is not None else (config.getini(f"dq_{name}") or None)

    def path(name: str) -> Path | None:
        given, written = config.getoption(f"dq_{name}"), config.getini(f"dq_{name}")
        if given:
            return Path(config.invocation_params.dir, given).resolve()
        return (config.rootpath / written).resolve() if written else None

    seed, system, stack = path("seed"), path("system"), asked("stack")
    for name, found in (("seed", seed), ("system", system)):
        if found and not found.exists():
            raise pytest.UsageError(f"--dq-{name}: there is no {found}")
    if stack and seed:
        raise pytest.UsageError("--dq-stack names a stack that is there, and --dq-seed is for one that is made")
    runtime = asked("runtime") or "local"
    if runtime not in ("local", "docker"):
        raise pytest.UsageError(f"dq_runtime is local or docker, not {runtime!r}")
    return Options(
        runtime=runtime,
        stack=stack,
        seed=seed,
        system=system,
        definitions=tuple(
            Path(config.invocation_params.dir, each).resolve()
            for each in config.getoption("dq_definitions") or config.getini("dq_definitions")
        ),
        fail_on=asked("fail_on"),
        databricks=bool(config.getoption("dq_databricks")),
        keep=bool(config.getoption("dq_keep")),
        timeout=float(asked("timeout") or 900),
    )
