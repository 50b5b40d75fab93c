"""What was asked of the plugin, on the command line and in the ini file; imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dqctl.report.options import FailOn

_TIMEOUT = 900.0  # seconds


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

    def one_of(name: str, words: tuple[str, ...]) -> str | None:
        found: str | None = asked(name)
        if found is not None and found not in words:
            raise pytest.UsageError(f"dq_{name} is one of {', '.join(words)}, not {found!r}")
        return found

    return Options(
        runtime=one_of("runtime", ("local", "docker")) or "local",
        stack=stack,
        seed=seed,
        system=system,
        definitions=tuple(
            Path(config.invocation_params.dir, each).resolve()
            for each in config.getoption("dq_definitions") or config.getini("dq_definitions")
        ),
        fail_on=one_of("fail_on", tuple(FailOn)),
        databricks=bool(config.getoption("dq_databricks")),
        keep=bool(config.getoption("dq_keep")),
        timeout=_seconds(asked("timeout") or _TIMEOUT),
    )


def _seconds(written: str | float) -> float:
    try:
        found = float(written)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise pytest.UsageError(f"--dq-timeout is a number of seconds, not {written!r}")
    return found
