"""TestGen of another version beside the stack's own: only its programs, for a database that is not the stack's."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dqctl.progress import Progress
from dqctl.runtime import runtime_of
from dqctl.runtime.ports import Runtime
from dqctl.stack.paths import StackPaths
from dqctl.stack.upgrading import Side

if TYPE_CHECKING:
    from docker.models.containers import Container

_SERVICE = "trial"


@contextlib.contextmanager
def of_version(paths: StackPaths, side: Side, progress: Progress) -> Iterator[Runtime]:
    """A runtime whose programs are those of ``side``; in docker a container that is gone afterwards.

    Which database they work with has to be said to each of them (``TG_METADATA_DB_NAME``).
    """
    if side.images is None:
        yield runtime_of(paths, side.record, progress, upgrading=True)
        return
    # A local stack has no use for the engine's SDK.
    from dqctl.runtime.docker import DockerRuntime, Trial
    from dqctl.runtime.docker_lakebase import DockerLakebaseRuntime
    from dqctl.runtime.engine import explained

    kind = DockerLakebaseRuntime if side.record.lakebase else DockerRuntime
    container = _make(paths, side)
    try:
        trial = Trial(side.images, container)
        yield kind(paths, side.record, progress, upgrading=True, trial=trial)
    finally:
        with explained():
            container.remove(force=True, v=True)


def clear(runtime: Runtime) -> None:
    """Remove the container of a trial that was killed."""
    if runtime.record.runtime == "docker":
        from dqctl.runtime import compose
        from dqctl.runtime.engine import PROJECT_LABEL, SERVICE_LABEL, client, explained

        label = [f"{PROJECT_LABEL}={compose.project(runtime.paths)}", f"{SERVICE_LABEL}={_SERVICE}"]
        with explained():
            for left_over in client().containers.list(all=True, filters={"label": label}, ignore_removed=True):
                left_over.remove(force=True, v=True)


def _make(paths: StackPaths, side: Side) -> "Container":
    """The stack's engine once more, of another image: what holds the one in holds the other."""
    from dqctl.errors import EnvironmentFault
    from dqctl.runtime import compose
    from dqctl.runtime.engine import PROJECT_LABEL, SERVICE_LABEL, client, containers, explained

    assert side.images, "of_version looks"  # noqa: S101 - nobody else calls
    project = compose.project(paths)
    engine = containers(project).get("engine")
    if engine is None:
        raise EnvironmentFault("TestGen's container is gone", "run the same command again: dqctl starts it")
    host = dict(engine.attrs["HostConfig"])
    host["RestartPolicy"] = {"Name": "no", "MaximumRetryCount": 0}
    own = engine.attrs["Config"]
    wanted = {
        "Image": side.images.engine.id,
        "Entrypoint": own["Entrypoint"],
        "Cmd": [],
        # The rest of its environment is its image's.
        "Env": [each for each in own["Env"] if each.startswith("TG_TESTGEN_HOME=")],
        "HostConfig": host,
        # As docker compose run labels it: compose up leaves it alone, compose down takes it along.
        "Labels": {PROJECT_LABEL: project, SERVICE_LABEL: _SERVICE, "com.docker.compose.oneoff": "True"},
    }
    with explained():
        api: Any = client().api
        made = api.create_container_from_config(wanted)
        container = client().containers.get(made["Id"])
        try:
            container.start()
        except BaseException:
            container.remove(force=True, v=True)
            raise
        container.reload()
    return container
