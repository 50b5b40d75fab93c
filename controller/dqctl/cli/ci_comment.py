"""``ci comment``: what became of the tests, on the pull request."""

from pathlib import Path
from typing import Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.output import emit, plain


def add_to(ci: typer.Typer) -> None:
    """Add the command to those of ``ci``."""
    ci.command(epilog="Example: dqctl ci comment dq/summary.md")(comment)


def comment(
    summary: Annotated[Path, typer.Argument(help="Markdown, as --summary writes it")],
    key: Annotated[str, typer.Option(help="Which of several comments on one request it is")] = "default",
    repository: Annotated[
        str | None, typer.Option(help="Repository of GitHub, as OWNER/NAME (GITHUB_REPOSITORY)")
    ] = None,
    pull_request: Annotated[
        int | None, typer.Option(help="Number of the request [default: that of this CI job]", min=1)
    ] = None,
) -> None:
    """Comment on the pull request that this CI job is about: one comment, updated by every run.

    GitHub's and GitLab's own variables say which one it is; the token is GITHUB_TOKEN or GITLAB_TOKEN, or in the
    file that GITHUB_TOKEN_FILE or GITLAB_TOKEN_FILE names. In a job that is about none nothing is done.
    """
    from dqctl.services import comment as service

    here = context()
    found = service.comment(summary, key=key, repository=repository, number=pull_request, progress=here.progress)
    if found.comment is None:
        emit({"request": None}, lambda: "this job is about no pull request: nothing is commented")
        return
    url, created = found.comment.url, found.comment.created
    emit(plain(found), lambda: f"{'commented' if created else 'updated the comment'}: {url}")
