"""Bringing an ephemeral stack up: recorded first, its parts side by side, taken down when any of them fails."""

import contextlib
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dqctl import signals
from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import DqctlError, EnvironmentFault, UsageError
from dqctl.localworkspace import control
from dqctl.progress import Progress
from dqctl.services.ci import record, throw_away
from dqctl.services.ci.command import undisturbed
from dqctl.services.ci.down import take_down
from dqctl.services.ci.owner import Owner
from dqctl.services.ci.record import CiPaths, Command, Databricks, Record
from dqctl.services.ci.remains import end_processes
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.testgen import standby
from dqctl.testgen.systems import document

if TYPE_CHECKING:
    from dqctl.services.ci.seeding import Loaded
    from dqctl.services.ci.seeds import Seeds

TTL = timedelta(hours=2)

_WORKSPACE = 120.0  # seconds for the local workspace to answer
_GIVE_UP = 10.0  # seconds for a statement to notice that its server is gone
_POLL = 0.05


@dataclass(frozen=True)
class Wanted:
    """What a stack is to be.

    ``systems`` is the file that is applied, ``seeds`` the folder that is loaded. With ``databricks`` its data and
    results are in throw-away schemas of the workspace that the settings lead to, else in a local workspace of its
    own. ``owned``: it is not to outlive this process; ``command``: one is going to run in it.
    """

    name: str | None = None
    runtime: Literal["local", "docker"] = "local"
    version: str | None = None
    ttl: timedelta = TTL
    systems: Path | None = None
    seeds: Path | None = None
    databricks: bool = False
    owned: bool = False
    command: bool = False


@dataclass(frozen=True)
class EphemeralStack:
    """A stack that is up. ``settings`` lead every service of dqctl to it.

    ``environment`` leads everybody else to it, but for the token: ``secrets`` has it, for processes of this one
    and private files.
    """

    paths: CiPaths
    record: Record
    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    loaded: "tuple[Loaded, ...]" = ()

    @property
    def name(self) -> str:
        """Its name, which is that of its stack too."""
        return self.record.name

    @property
    def runtime(self) -> str:
        """Where TestGen runs."""
        return self.record.runtime

    @property
    def expires(self) -> datetime:
        """From when on it may be removed at any time."""
        return self.record.expires


def new_name() -> str:
    """A name that no other stack has."""
    return f"ci-{secrets.token_hex(4)}"


def up(
    settings: Settings,
    wanted: Wanted,
    *,
    on_failure: Callable[[Record], object] | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> EphemeralStack:
    """Make the stack, load its seeds and apply its systems. ``settings`` are the user's own.

    ``on_failure`` may look at what there is before it is taken down because something failed.

    Raises ``UsageError`` for what is wrong with what is ``wanted`` before anything is made, and what its steps
    raise; then nothing of it is left.
    """
    found = _plan(wanted)
    paths = CiPaths(settings.home, wanted.name or new_name())
    made = _recorded(settings, paths, wanted, found, clock)
    # One at a time: what comes second needs what comes first.
    with _Beside(ThreadPoolExecutor(1, "ci-data")) as beside:
        try:
            with signals.unwinding():
                place = beside.begin(lambda: _open_place(settings, paths, made, progress, clock))
                # Imported while the workspace starts: that takes a second of each.
                from dqctl.services.ci import making

                waits = standby.expected(Deadline(wanted.ttl.total_seconds(), clock))
                with waits if wanted.systems else contextlib.nullcontext():
                    stack = making.make(
                        EphemeralStack(paths, made, throw_away.settings_of(settings, paths, made)),
                        wanted,
                        found,
                        place,
                        beside.begin,
                        progress,
                        clock,
                    )
            if not wanted.owned:
                stack = replace(stack, record=made.model_copy(update={"owner": None}))
                record.write(paths, stack.record)
        except BaseException as error:
            with undisturbed():
                try:
                    if on_failure and isinstance(error, DqctlError):
                        on_failure(made)
                except DqctlError as second:  # what it came from matters more
                    progress(f"{second.message}; {second.hint}")
                finally:
                    _give_up(settings, paths, made, beside, clock)
            raise
    return stack


def _plan(wanted: Wanted) -> "Seeds | None":
    """What is wrong with what is wanted is said before anything is made."""
    if wanted.systems == document.STDIN:
        raise UsageError("the systems file of an ephemeral stack cannot be stdin", "name a file with -f")
    if wanted.systems:
        document.read(wanted.systems)
    if not wanted.seeds:
        return None
    from dqctl.services.ci import seeds  # Arrow takes long to import

    found = seeds.plan(wanted.seeds)
    if wanted.databricks:
        found.require_one_catalog()
    return found


def _recorded(settings: Settings, paths: CiPaths, wanted: Wanted, found: "Seeds | None", clock: Clock) -> Record:
    where = None
    if wanted.databricks:
        target = find_target(settings)
        seeded = found.schemas if found else ()
        where = Databricks(
            place=target.place or target.host,
            catalog=target.catalog,
            mark=secrets.token_hex(8),
            schemas=(
                throw_away.results(paths.name),
                *(throw_away.of_seeds(paths.name, each) for each in seeded),
            ),
        )
    now = clock.now()
    try:
        made = Record(
            name=paths.name,
            runtime=wanted.runtime,
            owner=Owner.here(),
            created=now,
            expires=now + wanted.ttl,
            command=Command(cookie=f"{paths.name}.{secrets.token_hex(8)}") if wanted.command else None,
            databricks=where,
        )
    except ValueError:
        raise UsageError(
            f"{paths.name!r} is no name for a stack",
            "a small letter, then small letters, digits and -, 31 at most",
        ) from None
    record.create(paths, made)
    return made


class _Beside:
    """Work of another thread, and whether it is over."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._begun: list[Future[Any]] = []

    def __enter__(self) -> "_Beside":
        """Nothing is begun yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """What is not begun yet never is."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def begin(self, work: Callable[[], Any]) -> "Future[Any]":
        """Have ``work`` done when what was begun before is over."""
        begun = self._threads.submit(work)
        self._begun.append(begun)
        return begun

    @property
    def is_over(self) -> bool:
        """Whether nothing is under way."""
        return all(each.done() for each in self._begun)


def _give_up(user: Settings, paths: CiPaths, made: Record, beside: _Beside, clock: Clock) -> None:
    """Take down what there is, and what comes about meanwhile."""
    beside.__exit__()
    deadline = Deadline(_GIVE_UP, clock)
    while not (beside.is_over or deadline.passed):
        end_processes(paths, made, settle=False)  # which the other thread waits for
        clock.sleep(_POLL)
    record.put_back(paths, made)
    take_down(paths, user, settle=True)


def _open_place(user: Settings, paths: CiPaths, made: Record, progress: Progress, clock: Clock) -> None:
    """Have a workspace, or schemas in one."""
    if made.databricks:
        from dqctl.databricks.warehouse import Warehouse  # takes long to import
        from dqctl.services.ci import schemas

        with Warehouse(find_target(user), clock, progress) as warehouse:
            schemas.create(warehouse, made.databricks, made.name, made.expires)
        return
    addresses: tuple[str, ...] = ()
    if made.runtime == "docker":
        from dqctl.runtime.docker import host_address  # a local stack has no use for the engine's SDK

        addresses = (host_address(),)
    try:
        control.start(paths.workspace, proxy_addresses=addresses, timeout=_WORKSPACE)
    except control.WorkspaceError as error:
        said = f"the last lines of its log:\n{error.log_tail}" if error.log_tail else error.hint
        raise EnvironmentFault(error.message, said) from error
