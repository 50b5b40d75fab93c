"""What is installed here, for the archive."""

import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import dqctl
from dqctl.runtime import environments
from dqctl.services.doctor.subject import Subject


def versions(subject: Subject) -> dict[str, Any]:
    """dqctl, Python, the machine, and the packages of dqctl's environment and of TestGen's."""
    found: dict[str, Any] = {
        "dqctl": dqctl.__version__,
        "python": sys.version,
        "executable": sys.executable,
        "platform": platform.platform(),
        "system": _system(),
        "processors": os.cpu_count(),
        "user": os.geteuid(),
        "packages": _packages(None),
    }
    record = subject.record
    if record and record.runtime == "local":
        environment = environments.environment(subject.paths.environments, record.testgen_version)
        libraries = sorted(environment.path.glob("lib/python3.*/site-packages"))
        found["testgen_packages"] = _packages(libraries[0]) if libraries else {}
    return found


def _packages(directory: Path | None) -> dict[str, str]:
    found = distributions(path=[str(directory)]) if directory else distributions()
    return dict(sorted((each.metadata["Name"], each.version) for each in found if each.metadata["Name"]))


def _system() -> str:
    try:
        return str(platform.freedesktop_os_release()["PRETTY_NAME"])
    except (OSError, KeyError):
        return platform.system()
