"""Local workspaces for tests: a real server process, and other connectors than the one that is installed here."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from databricks import sql

from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from tiers import unavailable

# The newest that installs: dbt-core 1.12 has a part that is fetched from elsewhere than a package index.
DBT = "dbt-databricks==1.12.7,dbt-core==1.11.16"


@contextlib.contextmanager
def running_workspace(**options: object) -> Iterator[Endpoint]:
    """A workspace of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dqctl-workspace-", ignore_cleanup_errors=True) as directory:
        data_dir = Path(directory) / "data"
        try:
            yield control.start(data_dir, **options)  # type: ignore[arg-type]
        finally:
            control.stop(data_dir)


def connected(endpoint: Endpoint, **options: Any) -> Any:
    """A connection of databricks-sql-connector, straight to the port."""
    return sql.connect(
        server_hostname=endpoint.address,
        _port=endpoint.port,
        http_path=endpoint.http_path,
        access_token=endpoint.token_file.read_text().strip(),
        _tls_trusted_ca_file=str(endpoint.ca_file),
        enable_telemetry=False,
        **options,
    )


def foreign_environment(endpoint: Endpoint) -> dict[str, str]:
    """The environment with which tools that know nothing of local workspaces reach this one."""
    foreign = {
        "HTTPS_PROXY": endpoint.proxy_url,
        "SSL_CERT_FILE": str(endpoint.ca_file),
        "REQUESTS_CA_BUNDLE": str(endpoint.ca_file),
    }
    unset = ("HTTP_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")
    return {name: value for name, value in os.environ.items() if name not in unset} | foreign


def connector_python(requirement: str | None) -> str:
    """A Python that has the connector of ``requirement``, made once a machine; None is the one of these tests."""
    if requirement is None:
        return sys.executable
    cache = Path(os.environ.get("DQCTL_TEST_CACHE") or Path("~/.cache/dqctl-tests").expanduser()).absolute()
    python = cache / "connectors" / requirement.replace("==", "-").replace(",", "-") / "bin" / "python"
    if not python.exists():
        _install(python.parents[1], requirement)
    return str(python)


def _install(venv: Path, requirement: str) -> None:
    venv.parent.mkdir(parents=True, exist_ok=True)
    uv = [sys.executable, "-m", "uv", "--quiet"]
    with tempfile.TemporaryDirectory(dir=venv.parent) as half_made:
        # Made elsewhere and renamed when it is whole: relocatable, and an interrupted one is never taken for good.
        new = Path(half_made) / "venv"
        for command in (
            [*uv, "venv", "--relocatable", "--python", sys.executable, str(new)],
            [*uv, "pip", "install", "--compile-bytecode", "--python", str(new), *requirement.split(",")],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=280)
            if done.returncode:
                unavailable("local", f"{requirement} cannot be installed: {done.stderr.strip()[-500:]}")
        with contextlib.suppress(OSError):  # somebody else was quicker
            new.rename(venv)


def run_python(python: str, script: Path, environment: Mapping[str, str], *arguments: str, timeout: float) -> str:
    """Output of a script; its error output in the assertion when it fails."""
    done = subprocess.run(
        [python, str(script), *arguments], capture_output=True, text=True, timeout=timeout, env=dict(environment)
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
