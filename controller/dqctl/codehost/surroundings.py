"""Which pull request a CI job is about, by the variables that its CI system sets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dqctl.codehost.client import Client
from dqctl.codehost.request import GitHubPull, GitLabMerge, Request
from dqctl.errors import MissingSetting, UsageError
from dqctl.settings import read_secret_file

_GITHUB = "https://api.github.com"


def find_request(
    environment: Mapping[str, str], repository: str | None = None, number: int | None = None
) -> Request | None:
    """The request that the job is about, or that is named; None when it is about none, as after a push.

    Raises ``UsageError`` when a name or GitHub's description of the event does not fit, ``MissingSetting`` without
    a token.
    """
    if environment.get("GITLAB_CI") and not repository:
        iid = number or _number(environment.get("CI_MERGE_REQUEST_IID"))
        if iid is None:
            return None
        url = environment.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
        token = _token(environment, "GITLAB_TOKEN")
        return GitLabMerge(Client(url, token, "PRIVATE-TOKEN", ""), environment.get("CI_PROJECT_ID", ""), iid)
    name = repository or environment.get("GITHUB_REPOSITORY", "")
    # CHANGE_ID is Jenkins' word for it.
    pull = number or _of_event(environment.get("GITHUB_EVENT_PATH")) or _number(environment.get("CHANGE_ID"))
    if pull is None:
        return None
    if name.count("/") != 1 or not all(name.split("/")):
        raise UsageError(
            f"{name!r} is no repository of GitHub", "name it as OWNER/NAME with --repository or GITHUB_REPOSITORY"
        )
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    url = environment.get("GITHUB_API_URL") or _GITHUB
    return GitHubPull(Client(url, _token(environment, "GITHUB_TOKEN"), headers=headers), name, pull)


def _of_event(path: str | None) -> int | None:
    """The number of the pull request that a workflow's event is about."""
    if not path:
        return None
    try:
        event: Any = json.loads(Path(path).read_bytes())
        found = (event.get("pull_request") or {}).get("number")
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(
            f"GITHUB_EVENT_PATH names {path}, which cannot be read: {error}",
            "name the request with --pull-request",
        ) from None
    return found if isinstance(found, int) else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _token(environment: Mapping[str, str], name: str) -> SecretStr:
    if value := environment.get(name):
        return SecretStr(value)
    if path := environment.get(f"{name}_FILE"):
        return SecretStr(read_secret_file(Path(path), f"{name}_FILE"))
    raise MissingSetting(
        f"no {name} is set, so that nothing can be commented",
        f"set {name}, or {name}_FILE to a file that holds it; the token has to be allowed to write comments",
    )
