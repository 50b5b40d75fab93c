"""One comment on a pull request, whatever happens between two runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_hosts import TOKEN, CodeHost, running
from dqctl.clock import Clock
from dqctl.codehost.request import marker
from dqctl.errors import EnvironmentFault, MissingSetting, UsageError
from dqctl.progress import silent
from dqctl.services.comment import Commented, comment

AT_ONCE = Clock(sleep=lambda _: None)


@pytest.fixture(params=["github", "gitlab"])
def host(request: pytest.FixtureRequest) -> Iterator[CodeHost]:
    with running(is_gitlab=request.param == "gitlab") as found:
        yield found


@pytest.fixture
def github() -> Iterator[CodeHost]:
    with running() as found:
        yield found


@pytest.fixture
def event(tmp_path: Path) -> str:
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"action": "synchronize", "number": 12, "pull_request": {"number": 12}}))
    return str(path)


def say(host: CodeHost, text: str, event: str, tmp_path: Path, key: str = "default", **more: str) -> Commented:
    file = tmp_path / "summary.md"
    file.write_text(text)
    environment = {**host.environment(event), **more}
    return comment(file, key=key, environment=environment, progress=silent, clock=AT_ONCE)


def bodies(host: CodeHost) -> list[str]:
    return [each["body"] for each in host.comments]


def test_the_first_run_adds_a_comment_and_the_next_ones_change_it(
    host: CodeHost, event: str, tmp_path: Path
) -> None:
    host.add("please have a look")
    first = say(host, "## ❌ one", event, tmp_path)
    assert first.comment
    assert first.comment.created
    second = say(host, "## ✅ two", event, tmp_path)
    assert second.comment
    assert not second.comment.created
    assert bodies(host) == ["please have a look", f"{marker('default')}\n## ✅ two"]


def test_it_is_found_behind_pages_of_others(host: CodeHost, event: str, tmp_path: Path) -> None:
    for number in range(230):
        host.add(f"comment {number}")
    say(host, "one", event, tmp_path)
    for number in range(50):
        host.add(f"later comment {number}")
    say(host, "two", event, tmp_path)
    assert [body for body in bodies(host) if marker("default") in body] == [f"{marker('default')}\ntwo"]


def test_two_keys_are_two_comments(host: CodeHost, event: str, tmp_path: Path) -> None:
    for text in ("one", "two"):
        for key in ("sales", "flights --> <b>"):
            say(host, f"{key}: {text}", event, tmp_path, key)
    found = bodies(host)
    assert [body.split("\n", 1)[1] for body in found] == ["sales: two", "flights --> <b>: two"]
    assert [body.split("\n", 1)[0].count("--") for body in found] == [2, 2], "the comment ends where it has to"


def test_what_a_stranger_wrote_under_our_mark_is_left_alone(github: CodeHost, event: str, tmp_path: Path) -> None:
    stranger = {"user": {"login": "mallory", "type": "User"}, "author_association": "NONE"}
    github.add(f"{marker('default')}\nall is well", **stranger)
    say(github, "failed", event, tmp_path)
    assert bodies(github) == [f"{marker('default')}\nall is well", f"{marker('default')}\nfailed"]


def test_what_a_person_of_the_project_let_dqctl_write_is_changed(
    github: CodeHost, event: str, tmp_path: Path
) -> None:
    github.add(f"{marker('default')}\r\nold", user={"login": "ada", "type": "User"}, author_association="MEMBER")
    say(github, "new", event, tmp_path)
    assert bodies(github) == [f"{marker('default')}\nnew"]


def test_a_note_of_somebody_else_on_gitlab_is_left_alone(tmp_path: Path) -> None:
    with running(is_gitlab=True) as host:
        host.add(f"{marker('default')}\nx", author={"id": 8})
        say(host, "y", "", tmp_path)
        assert bodies(host) == [f"{marker('default')}\nx", f"{marker('default')}\ny"]


def test_a_comment_that_was_deleted_meanwhile_is_added_again(github: CodeHost, event: str, tmp_path: Path) -> None:
    say(github, "one", event, tmp_path)
    answer = github.answer

    def forgetful(method: str, target: str, headers: object, content: object) -> object:
        if method == "PATCH":
            github.comments.clear()
        return answer(method, target, headers, content)

    github.answer = forgetful  # type: ignore[method-assign, assignment]
    say(github, "two", event, tmp_path)
    assert bodies(github) == [f"{marker('default')}\ntwo"]


@pytest.mark.parametrize(
    "fault",
    [(502, {}), (503, {"Retry-After": "1"}), (429, {}), (403, {"X-RateLimit-Remaining": "0"})],
    ids=["502", "503", "429", "403"],
)
def test_a_host_that_is_out_of_order_is_asked_again(
    fault: tuple[int, dict[str, str]], github: CodeHost, event: str, tmp_path: Path
) -> None:
    github.faults = [fault, fault]
    say(github, "one", event, tmp_path)
    assert bodies(github) == [f"{marker('default')}\none"]


def test_a_comment_whose_answer_got_lost_is_not_added_twice(github: CodeHost, event: str, tmp_path: Path) -> None:
    answer = github.answer
    lost = []

    def losing(method: str, target: str, headers: object, content: object) -> object:
        said = answer(method, target, headers, content)
        if method == "POST" and not lost:
            lost.append(target)
            return 502, {}, {"message": "Bad Gateway"}
        return said

    github.answer = losing  # type: ignore[method-assign, assignment]
    say(github, "one", event, tmp_path)
    assert lost
    assert bodies(github) == [f"{marker('default')}\none"]


def test_a_host_that_is_not_there_is_a_fault_of_the_environment(event: str, tmp_path: Path) -> None:
    ticks = iter(range(10_000))
    clock = Clock(monotonic=lambda: next(ticks) * 5.0, sleep=lambda _: None)
    file = tmp_path / "summary.md"
    file.write_text("x")
    with running() as host:
        environment = host.environment(event)
    with pytest.raises(EnvironmentFault, match="did not answer") as caught:
        comment(file, environment=environment, progress=silent, clock=clock)
    assert "all the same" in caught.value.hint


@pytest.mark.parametrize("status", [301, 401, 403, 404, 422])
def test_what_is_refused_is_said_and_not_tried_again(
    status: int, github: CodeHost, event: str, tmp_path: Path
) -> None:
    github.faults = [(status, {"Location": "http://127.0.0.1:1/elsewhere"} if status == 301 else {})]
    with pytest.raises(UsageError, match=f"answers HTTP {status}") as caught:
        say(github, "x", event, tmp_path)
    assert TOKEN not in caught.value.message + caught.value.hint
    assert len(github.requests) == 1


@pytest.mark.parametrize("said", ["{}", '{"pull_request": null}', '{"ref": "refs/heads/main"}'])
def test_a_push_is_about_no_pull_request(said: str, github: CodeHost, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(said)
    assert say(github, "x", str(event), tmp_path, GITHUB_TOKEN="").comment is None  # nor is a token asked for
    assert not github.requests


def test_jenkins_own_variable_names_the_request_too(github: CodeHost, tmp_path: Path) -> None:
    say(github, "x", "", tmp_path, CHANGE_ID="12")
    assert bodies(github)


@pytest.mark.parametrize("content", ["[1]", "{", None])
def test_an_event_that_cannot_be_read_is_said(content: str | None, github: CodeHost, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    if content is not None:
        event.write_text(content)
    with pytest.raises(UsageError, match="GITHUB_EVENT_PATH"):
        say(github, "x", str(event), tmp_path)


def test_a_token_may_be_in_a_file_and_is_asked_for(github: CodeHost, event: str, tmp_path: Path) -> None:
    with pytest.raises(MissingSetting, match="GITHUB_TOKEN"):
        say(github, "x", event, tmp_path, GITHUB_TOKEN="")
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    say(github, "x", event, tmp_path, GITHUB_TOKEN="", GITHUB_TOKEN_FILE=str(secret))
    assert bodies(github)


@pytest.mark.parametrize("text", [None, "x" * 65_001])
def test_a_summary_that_does_not_fit_is_refused_before_anybody_is_asked(
    text: str | None, github: CodeHost, event: str, tmp_path: Path
) -> None:
    file = tmp_path / "summary.md"
    if text:
        file.write_text(text)
    with pytest.raises(UsageError, match=r"characters|cannot be read"):
        comment(file, environment=github.environment(event), progress=silent, clock=AT_ONCE)
    assert not github.requests
