"""Finding the images of a stack: here, or pulled; and what is in them."""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

import docker.errors

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import write_atomically
from dqctl.progress import Progress
from dqctl.runtime.engine import client, explained
from dqctl.stack.images import Image, Images, TestGenImage

Pull = Literal["missing", "always", "never"]

Known = TypeVar("Known", Image, TestGenImage)

_PROBE_SECONDS = 60
_LABEL = "dqctl.look"
# What scripts/images builds. Never pulled: whoever has that name in a registry could put anything into it.
_OWN = "dqctl/"
_STALE = timedelta(minutes=5)
# Upgrade scripts are numbered with the revision that they lead to.
_PROBE = """
import glob, importlib.metadata, json, os, sys, testgen
scripts = glob.glob(os.path.join(os.path.dirname(testgen.__file__), "template/dbupgrade/[0-9]*.sql"))
print(json.dumps({
    "version": importlib.metadata.version("dataops-testgen"),
    "schema_revision": max(int(os.path.basename(script).split("_")[0]) for script in scripts),
    "python": sys.executable,
}))
"""
# TestGen's interpreter stands in the first line of its command.
_FIND_PYTHON = 'python=$(head -n 1 "$(command -v testgen)"); exec ${python#??} -P -c "$1"'


def find_images(
    engine: str,
    postgres: str | None,
    controller: str | None = None,
    monitoring: Mapping[str, str] | None = None,
    *,
    pinned: Images | None,
    kept: Path | None = None,
    pull: Pull,
    progress: Progress,
) -> Images:
    """The images called ``engine``, ``postgres`` and ``controller``; what is pinned under the same names stays.

    ``monitoring`` names those of services that watch the stack. ``postgres`` is None with Lakebase. What was found
    in the two is ``kept`` in that directory for the next stacks: looking takes a second. Raises
    ``EnvironmentFault`` when one is neither here nor to be pulled, or is not the pinned one any more;
    ``UsageError`` when it is no image of what it should be.
    """
    keep = pinned if pull != "always" else None
    old = keep.engine if keep and keep.engine.reference == engine else None
    engine_id = _find(engine, old, pull, progress)
    return Images(
        engine=old if old else kept_or_seen(TestGenImage, kept, engine, engine_id, _testgen),
        postgres=_find_postgres(postgres, keep, kept, pull, progress) if postgres else None,
        controller=_find_controller(controller, keep, pull, progress) if controller else None,
        monitoring={
            service: _find_monitoring(service, reference, keep, pull, progress)
            for service, reference in (monitoring or {}).items()
        },
    )


def _find_postgres(
    reference: str, keep: Images | None, kept: Path | None, pull: Pull, progress: Progress
) -> Image:
    old = keep.postgres if keep and keep.postgres and keep.postgres.reference == reference else None
    found = _find(reference, old, pull, progress)
    return old or kept_or_seen(Image, kept, reference, found, _postgres)


def kept_or_seen(
    kind: type[Known], kept: Path | None, reference: str, image: str, look: Callable[[str, str], Known]
) -> Known:
    """What is in the image with the id ``image``, which never changes; looked into where that is not ``kept``."""
    path = kept / f"image-{image.removeprefix('sha256:')[:32]}.json" if kept else None
    if path:
        with contextlib.suppress(OSError, ValueError):  # no file, or one that was cut off
            found = kind.model_validate_json(path.read_text(encoding="utf-8"))
            if found.id == image:
                return found.model_copy(update={"reference": reference})
    seen = look(reference, image)
    if path:
        with contextlib.suppress(OSError):
            write_atomically(path, seen.model_dump_json())
    return seen


def _find_controller(reference: str, keep: Images | None, pull: Pull, progress: Progress) -> Image:
    old = keep.controller if keep and keep.controller and keep.controller.reference == reference else None
    found = _find_or_own(reference, old, pull, progress)
    return old if old and old.id == found else _controller(reference, found)


def _find_monitoring(service: str, reference: str, keep: Images | None, pull: Pull, progress: Progress) -> Image:
    old = keep.monitoring.get(service) if keep else None
    old = old if old and old.reference == reference else None
    found = _find_or_own(reference, old, pull, progress)
    return old if old and old.id == found else _monitoring(service, reference, found)


def _find_or_own(reference: str, pinned: Image | None, pull: Pull, progress: Progress) -> str:
    if not reference.startswith(_OWN):
        return _find(reference, pinned, pull, progress)
    found = (_here(pinned.id) if pinned else None) or _here(reference)
    if not found:
        raise _missing(reference, "and comes from no registry")
    return found


def _find(reference: str, pinned: Image | None, pull: Pull, progress: Progress) -> str:
    wanted = pinned.id if pinned else reference
    if pull != "always" and (found := _here(wanted)):
        return found
    if pull == "never":
        raise _missing(reference, "and --pull never forbids to pull it")
    progress(f"pulling {reference}")
    try:
        with explained():
            found = str(client().images.pull(reference).id)
    except EnvironmentFault as fault:
        raise _missing(reference, f"and cannot be pulled: {fault.message}") from fault
    if pinned and found != pinned.id:
        raise EnvironmentFault(
            f"{reference} is another image now: {found[:19]}, the stack is pinned to {pinned.id[:19]}",
            "load the pinned image (docker load), or take the new one: dqctl install --pull always",
        )
    return found


def is_here(reference: str) -> bool:
    """Whether the engine has the image, by name or id."""
    return _here(reference) is not None


def _here(reference: str) -> str | None:
    with explained():
        try:
            return str(client().images.get(reference).id)
        except docker.errors.ImageNotFound:
            return None


def _missing(reference: str, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"image {reference} is not here, {why}",
        "load it (docker load), build it (scripts/images), or name another: --image, --postgres-image, "
        "--controller-image, --prometheus-image, --alertmanager-image, --grafana-image (none: without it), "
        "--registry. A stack of --runtime local needs no images",
    )


def _testgen(reference: str, image: str) -> TestGenImage:
    said = _run(image, ["sh", "-c", _FIND_PYTHON, "sh", _PROBE], f"{reference} is no image of TestGen")
    try:
        return TestGenImage(reference=reference, id=image, **json.loads(said.splitlines()[-1]))
    except (ValueError, IndexError):
        raise UsageError(
            f"{reference} is no image of TestGen: {said[-300:]}", "name another with --image"
        ) from None


def _postgres(reference: str, image: str) -> Image:
    said = _run(image, ["postgres", "--version"], f"{reference} is no image of PostgreSQL")
    # postgres (PostgreSQL) 16.4 (Debian 16.4-1.pgdg120+1)
    words = said.split()
    if len(words) < 3:
        raise UsageError(f"{reference} is no image of PostgreSQL: {said}", "name another with --postgres-image")
    return Image(reference=reference, id=image, version=words[2])


def _controller(reference: str, image: str) -> Image:
    said = _run(image, ["dqctl", "--version"], f"{reference} is no image of dqctl")
    name, _, version = said.partition(" ")
    if name != "dqctl" or not version:
        raise UsageError(f"{reference} is no image of dqctl: {said}", "name another with --controller-image")
    return Image(reference=reference, id=image, version=version)


def _monitoring(service: str, reference: str, image: str) -> Image:
    what = service.capitalize()
    # Which of the two streams it is differs by version.
    said = _run(image, [service, "--version"], f"{reference} is no image of {what}", stderr=True)
    # prometheus, version 3.5.0 (branch: HEAD, revision: ...); grafana version 12.1.0
    found = re.search(rf"\b{service},? version v?(\d\S*)", said)
    if found is None:
        raise UsageError(
            f"{reference} is no image of {what}: {said[-300:]}", f"name another with --{service}-image"
        )
    return Image(reference=reference, id=image, version=found[1])


def _remove_stale() -> None:
    """Remove what an install that was killed while it looked into an image left behind."""
    for container in client().containers.list(all=True, filters={"label": _LABEL}, ignore_removed=True):
        created = datetime.fromisoformat(container.attrs["Created"][:19]).replace(tzinfo=UTC)
        if datetime.now(UTC) - created > _STALE:
            with contextlib.suppress(docker.errors.APIError):  # another install was quicker
                container.remove(force=True, v=True)


def _run(image: str, command: list[str], wrong: str, *, stderr: bool = False) -> str:
    with explained():
        _remove_stale()
        container = client().containers.create(
            image,
            command[1:],
            entrypoint=command[0],
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            labels={_LABEL: "look into an image"},
        )
        try:
            container.start()
            code = container.wait(timeout=_PROBE_SECONDS)["StatusCode"]
            said = container.logs(stdout=True, stderr=stderr or code != 0).decode(errors="replace").strip()
        except docker.errors.APIError as error:
            raise UsageError(f"{wrong}: {error.explanation}", "name another image") from error
        finally:
            container.remove(force=True, v=True)
    if code:
        raise UsageError(f"{wrong}: {said[-300:]}", "name another image")
    return said
