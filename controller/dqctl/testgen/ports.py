"""What this package needs of a place where TestGen runs; ``runtime`` provides it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dqctl.clock import Deadline
from dqctl.processes import Completed, Feed, Line

if TYPE_CHECKING:
    import psycopg

__all__ = ["Completed", "Feed", "Line", "Runtime"]


class Runtime(Protocol):
    """One TestGen installation with its metadata database, up and running."""

    @property
    def version(self) -> str:
        """Version of TestGen: ``5.134.0``."""
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        program: Literal["testgen", "python"] = "testgen",
        stdin: str | Feed = "",
        deadline: Deadline,
        environment: Mapping[str, str] | None = None,
        on_line: Line | None = None,
        on_error_line: Line | None = None,
        fetch: str | None = None,
    ) -> Completed:
        """Run ``testgen ARGV`` (or TestGen's own Python with ARGV) in the foreground, with a HOME of its own.

        ``environment`` comes on top of the stack's own (never secrets: those travel by file or ``stdin``).
        ``on_line`` (``on_error_line``) gets each line of stdout (stderr) as it comes. ``fetch`` is a directory
        below HOME (``testgen/file-out``): the files that lie in it when the process has ended come back in
        ``Completed.files``, none when there is no such directory. HOME itself is gone after the call.

        Any exit code is returned, not raised. When the deadline passes or the caller is interrupted, the process
        gets SIGTERM, 10 s to clean up, then SIGKILL, with everything it started; then ``EnvironmentFault``
        (deadline) or the interruption is raised.
        """
        ...

    @property
    def configuration(self) -> str:
        """What a process of TestGen is started with, to compare: its programs, its database, its secrets."""
        ...

    def variables(self, on_top: Mapping[str, str]) -> Mapping[str, str]:
        """``environment`` of ``run`` as a process has it, which may be in a container."""
        ...

    def metadata(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """A new connection to the metadata database: search path ``testgen``, time zone UTC, not autocommit."""
        ...
