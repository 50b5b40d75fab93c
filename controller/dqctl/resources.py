"""Files that are part of the product though they are not code: templates and examples."""

import importlib.resources
from pathlib import Path


def places(directory: str) -> tuple[Path, ...]:
    """Where ``directory`` may be: inside the package in a wheel, at the top level in a checkout."""
    package = Path(str(importlib.resources.files("dqctl")))
    return (package / directory, package.parents[1] / directory)


def example(name: str) -> Path:
    """The systems file ``name`` among the examples."""
    found = [path for place in places("examples/systems") if (path := place / name).exists()]
    return found[0]
