"""What a container engine has of throw-away stacks, by labels: found and removed, without Compose."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import docker.errors

from dqctl.runtime.engine import client, explained
from dqctl.stack import labels

SETTLED = 1.0  # seconds until the engine has done what somebody asked for who was killed

_AT_ONCE = 4
_PROJECT = "com.docker.compose.project"
_DIRECTORY = f"{_PROJECT}.working_dir"


@dataclass(frozen=True)
class Belonging:
    """A container, network or volume."""

    kind: str
    name: str
    labels: Mapping[str, str]
    remove: Callable[[], None]


def find(label: str = labels.STACK) -> tuple[Belonging, ...]:
    """Everything that has a label, ``NAME`` or ``NAME=VALUE``: containers first, they hold the others.

    Raises ``EnvironmentFault`` when the engine does not answer.
    """
    with explained():
        return tuple(_find(label))


def remove(label: str) -> int:
    """Remove everything that has a label, whatever it does; how much it was."""
    return remove_all(find(label))


def remove_project(name: str, directory: Path) -> int:
    """Remove the Compose project ``name`` whose definition is in ``directory``; how much it was.

    Nothing where containers or volumes of that name have another directory: then it is somebody else's.
    """
    found = find(f"{_PROJECT}={name}")
    tells = {"container": _DIRECTORY, "volume": labels.ROOT}  # a network tells nothing
    places = {each.labels.get(tells[each.kind]) for each in found if each.kind in tells}
    return remove_all(found) if places <= {str(directory)} else 0


def remove_all(found: Iterable[Belonging]) -> int:
    """Remove things, containers side by side; what somebody else removes meanwhile is gone as well."""
    kinds: dict[str, list[Belonging]] = {"container": [], "network": [], "volume": []}
    for each in found:
        kinds[each.kind].append(each)
    for things in kinds.values():
        if things:
            with explained(), ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(_remove, things))
    return sum(map(len, kinds.values()))


def _find(label: str) -> Iterator[Belonging]:
    engine = client().api
    filters = {"label": [label]}
    for each in engine.containers(all=True, filters=filters):
        # It is killed, not stopped. With what it has as anonymous volumes.
        remove = partial(engine.remove_container, each["Id"], v=True, force=True)
        name = each["Names"][0].removeprefix("/") if each.get("Names") else each["Id"][:12]
        yield Belonging("container", name, each["Labels"], remove)
    for each in engine.networks(filters=filters):
        yield Belonging("network", each["Name"], each["Labels"], partial(engine.remove_network, each["Id"]))
    for each in engine.volumes(filters=filters)["Volumes"] or []:
        remove = partial(engine.remove_volume, each["Name"], force=True)
        yield Belonging("volume", each["Name"], each["Labels"], remove)


def _remove(found: Belonging) -> None:
    try:
        found.remove()
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        # 409: somebody else is at it (removal already in progress).
        if error.status_code != 409 or "in progress" not in str(error.explanation):
            raise
