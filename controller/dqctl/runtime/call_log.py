"""The log of what TestGen said, call by call: ``logs/testgen.log``, without secrets."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from dqctl.files import PRIVATE_DIR, PRIVATE_FILE
from dqctl.processes import Line
from dqctl.redaction import redact
from dqctl.stack.paths import StackPaths

_BYTES = 5_000_000


@contextlib.contextmanager
def call_log(paths: StackPaths, program: str, argv: Sequence[str]) -> Iterator[Line]:
    """What keeps the lines of one call, while the block runs."""
    paths.logs.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    path = paths.logs / "testgen.log"
    if path.exists() and path.stat().st_size > _BYTES:
        path.replace(path.with_suffix(".log.1"))
    path.touch(PRIVATE_FILE)
    with path.open("a", encoding="utf-8", buffering=1) as file:

        def keep(line: str) -> None:
            file.write(redact(line) + "\n")

        keep(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} {program} {' '.join(argv)[:200]}")
        yield keep


def both(first: Line, second: Line | None) -> Line:
    """A listener that tells two."""

    def hear(line: str) -> None:
        first(line)
        if second:
            second(line)

    return hear
