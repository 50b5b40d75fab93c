"""The programs of another version of TestGen, at hand before anything of a stack is touched."""

from dqctl.errors import UsageError
from dqctl.progress import Progress
from dqctl.runtime import Runtime, environments
from dqctl.services.lakebase import require_tls
from dqctl.settings import Settings
from dqctl.stack.images import Images, read_images
from dqctl.stack.upgrading import Side
from dqctl.testgen.capabilities import KNOWN, capabilities, is_older


def current(runtime: Runtime) -> Side:
    """What the stack is now."""
    images = read_images(runtime.paths) if runtime.record.runtime == "docker" else None
    return Side(record=runtime.record, images=images)


def newer(
    settings: Settings, runtime: Runtime, version: str | None, image: str | None, progress: Progress
) -> Side:
    """The side of an upgrade to ``version`` (default: the newest that is known), or to what ``image`` holds.

    Raises ``UsageError`` for a version that is older than the stack's, or none; ``EnvironmentFault`` when its
    programs cannot be had.
    """
    if image is None:
        wanted = version or KNOWN[0].version
        environments.check_version(wanted)
        _require_newer(runtime, wanted)
        return current(runtime) if wanted == runtime.version else of_version(settings, runtime, wanted, progress)
    if runtime.record.runtime != "docker":
        raise UsageError("--image is for the runtime docker", "say which version with --to")
    side = _find(settings, current(runtime), image, progress)
    holds = side.record.testgen_version
    if version and holds != version:
        raise UsageError(f"{image} holds TestGen {holds}, {version} was asked for", "name another --image")
    _require_newer(runtime, holds)
    return side


def of_version(settings: Settings, runtime: Runtime, version: str, progress: Progress) -> Side:
    """The side of any version, its programs at hand."""
    now = current(runtime)
    if now.images is None:
        return with_programs(settings, runtime, _renamed(now, version), progress)
    reference = _reference(settings, now.images, version)
    side = _find(settings, now, reference, progress)
    if (holds := side.record.testgen_version) != version:
        raise UsageError(
            f"{reference} holds TestGen {holds}, {version} was asked for", "name the right image with --image"
        )
    return side


def with_programs(settings: Settings, runtime: Runtime, side: Side, progress: Progress) -> Side:
    """``side`` once more, its programs at hand: installed, or the very images pulled or found.

    Raises ``EnvironmentFault`` when they cannot be had any more.
    """
    if side.images is not None:
        return _find(settings, side, side.images.engine.reference, progress)
    version = side.record.testgen_version
    if side.record.lakebase:
        require_tls(version)
    log = runtime.paths.logs / "install.log"
    environments.ensure_environment(runtime.paths.environments, version, log=log, progress=progress)
    return side


def _find(settings: Settings, side: Side, reference: str, progress: Progress) -> Side:
    from dqctl.runtime.images import find_images  # a local stack has no use for the engine's SDK

    pinned = side.images
    assert pinned, "only docker has images"  # noqa: S101 - the callers look
    found = find_images(
        reference,
        pinned.postgres.reference if pinned.postgres else None,
        pinned.controller.reference if pinned.controller else None,
        pinned=pinned,
        # PostgreSQL and the controller stay what they are: an upgrade is one of TestGen.
        pull="missing" if settings.pull == "always" else settings.pull,
        progress=progress,
    ).model_copy(update={"monitoring": pinned.monitoring})
    capabilities(found.engine.version)  # refuses what is too old
    if side.record.lakebase:
        require_tls(found.engine.version)
    return _renamed(side, found.engine.version).model_copy(update={"images": found})


def _reference(settings: Settings, pinned: Images, version: str) -> str:
    """The image of a version: called as the stack's own, else the stock one."""
    from dqctl.services.install_docker import STOCK  # a local stack has no use for the engine's SDK

    own = pinned.engine
    if own.version in own.reference:
        return own.reference.replace(own.version, version)
    mirror = f"{settings.registry.rstrip('/')}/" if settings.registry else ""
    return mirror + STOCK.format(version=version)


def _renamed(side: Side, version: str) -> Side:
    return side.model_copy(update={"record": side.record.model_copy(update={"testgen_version": version})})


def _require_newer(runtime: Runtime, version: str) -> None:
    if is_older(version, runtime.version):
        raise UsageError(
            f"TestGen {version} is older than the stack's {runtime.version}, and knows no way back",
            "nothing was changed. To what the stack was before its last upgrade: dqctl rollback; to a backup of "
            f"{version}: dqctl rollback --to-backup ID, see dqctl backup list",
        )
