"""One comment on a pull request that says what became of the tests, and is updated by every run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.codehost.request import Comment, Request
from dqctl.codehost.surroundings import find_request
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import Progress
from dqctl.redaction import redact

_PATIENCE = 30.0  # seconds in which a host that does not answer is asked again
_PAUSE = 3.0
# GitHub's limit for a comment, in characters, less the line by which it is found.
_MOST = 65_000


@dataclass(frozen=True)
class Commented:
    """Where the comment is; nothing when the job is about no pull request."""

    request: str = ""
    comment: Comment | None = None


def comment(
    file: Path,
    *,
    key: str = "default",
    repository: str | None = None,
    number: int | None = None,
    environment: Mapping[str, str] | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> Commented:
    """Put the Markdown in ``file`` on the pull request that this CI job is about.

    Raises ``UsageError`` for a file, a token or a name that does not fit, ``EnvironmentFault`` when the host does
    not answer.
    """
    try:
        text = redact(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the summary {file} cannot be read: {error}", "name what --summary wrote") from None
    if len(text) > _MOST:
        raise UsageError(
            f"{file} has {len(text):,} characters, and a comment holds {_MOST:,}", "name what --summary wrote"
        )
    request = find_request(os.environ if environment is None else environment, repository, number)
    if request is None:
        return Commented()
    return Commented(request.name, _patiently(request, key, text, progress, clock))


def _patiently(request: Request, key: str, text: str, progress: Progress, clock: Clock) -> Comment:
    deadline = Deadline(_PATIENCE, clock)
    while True:
        try:
            # Again means from the beginning: what was added before the answer got lost is found then.
            return request.comment(key, text)
        except EnvironmentFault as fault:
            if deadline.left <= _PAUSE:
                raise
            progress(f"{fault.message}; once more")
            clock.sleep(_PAUSE)
