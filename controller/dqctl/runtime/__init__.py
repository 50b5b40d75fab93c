"""Where TestGen's processes run: on this machine, or in containers; behind one Protocol (``ports.Runtime``)."""

from dqctl.errors import UsageError
from dqctl.progress import Progress
from dqctl.runtime import aside
from dqctl.runtime.ports import MetadataServer, Runtime
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record

__all__ = ["MetadataServer", "Runtime", "find_runtime", "open_runtime", "runtime_of"]


def open_runtime(settings: Settings, progress: Progress) -> Runtime:
    """The installed stack, up: what is down is started, an upgrade that was interrupted is ended.

    Raises ``UsageError`` when nothing is installed, ``EnvironmentFault`` when it does not start.
    """
    from dqctl.runtime import upgrade  # an upgrade opens runtimes itself

    upgrade.recover(settings, StackPaths(settings.home, settings.stack), progress)
    runtime = find_runtime(settings, progress)
    runtime.up()
    aside.clear(runtime)
    return runtime


def find_runtime(settings: Settings, progress: Progress) -> Runtime:
    """The installed stack as it is; ``UsageError`` when nothing is installed."""
    paths = StackPaths(settings.home, settings.stack)
    record = read_record(paths)
    if record is None or not record.installed:
        raise UsageError(f"stack {settings.stack!r} is not installed in {settings.home}", "run: dqctl install")
    runtime = runtime_of(paths, record, progress)
    runtime.require_programs()
    return runtime


def runtime_of(paths: StackPaths, record: StackRecord, progress: Progress, *, upgrading: bool = False) -> Runtime:
    """The runtime that ``record`` names, installed or not.

    With ``upgrading`` it may work while the stack changes its version: for whoever is changing it.
    """
    # Imported when it is needed: a local stack has no use for the engine's SDK.
    if record.runtime == "docker":
        if record.lakebase:
            from dqctl.runtime.docker_lakebase import DockerLakebaseRuntime

            return DockerLakebaseRuntime(paths, record, progress, upgrading=upgrading)
        from dqctl.runtime.docker import DockerRuntime

        return DockerRuntime(paths, record, progress, upgrading=upgrading)
    if record.lakebase:
        from dqctl.runtime.local_lakebase import LocalLakebaseRuntime

        return LocalLakebaseRuntime(paths, record, progress, upgrading=upgrading)
    from dqctl.runtime.local import LocalRuntime

    return LocalRuntime(paths, record, progress, upgrading=upgrading)
