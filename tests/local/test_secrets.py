"""Secrets that are easy to recognise are planted; whatever dqctl writes, says, publishes or starts is searched."""

import base64
import os
import stat
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from command_line import SYSTEM, CommandLine, Said, load_shop, write_systems
from dqctl import records
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.stack.secrets import LENGTHS
from dqctl.tables import ddl
from publishing import published
from target_database import Target

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

PLANTED = {
    "DATABRICKS_TOKEN": "dapi-planted/token+4711%2B",
    "PROBE_PASSWORD": "planted-Pr0be/pass+word%4711",
    "WRONG_PASSWORD": "planted-wr0ng-password-4711",
}
WRONG_TOKEN = "dapi-planted-but-wrong-4711"


def spellings(secret: str) -> set[bytes]:
    """The ways in which a secret can stand in what is written."""
    quoted = {
        secret,
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
        urllib.parse.quote(secret, safe=""),
    }
    return {each.encode() for each in quoted} | {base64.b64encode(secret.encode()).rstrip(b"=")}


def processes() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


@dataclass
class Lookout:
    """Looks at all processes that begin while commands run; ``seen`` is where a secret showed."""

    secrets: dict[str, set[bytes]]
    before: frozenset[str] = field(default_factory=lambda: frozenset(path.name for path in processes()))
    seen: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)
    looks: int = 0

    def look(self, over: threading.Event) -> None:
        while not over.wait(0.05):
            self.looks += 1
            for process in processes():
                if process.name not in self.before:
                    self._look_at(process)

    def _look_at(self, process: Path) -> None:
        if not (found := self._shown(process)):
            return
        # Between fork and exec a new process still looks like the one that starts it.
        time.sleep(0.3)
        self.seen |= found & self._shown(process)

    def _shown(self, process: Path) -> set[str]:
        found = set()
        for name in ("cmdline", "environ"):
            try:
                content = (process / name).read_bytes()
                program = (process / "comm").read_text().strip()
            except OSError:
                continue
            self.programs.add(program)
            arguments = content.replace(b"\0", b" ").decode(errors="replace") if name == "cmdline" else ""
            for secret, ways in tuple(self.secrets.items()):
                if any(way in content for way in ways):
                    found.add(f"{secret} in {name} of {program} {process.name} {arguments}")
        return found


@dataclass
class Story:
    """Commands with ``--debug``, and what they said."""

    run: CommandLine
    lookout: Lookout
    said: dict[str, Said] = field(default_factory=dict)

    def do(self, what: str, *arguments: object) -> None:
        # Not ``start``: that process was given the secrets in its environment, by us, and would show them.
        self.said[what] = self.run("--debug", *arguments, code=None)

    @property
    def workspace(self) -> Path:
        return self.run.home / "workspaces" / "default"

    @property
    def stack(self) -> Path:
        return self.run.home / "stacks" / "default"


@pytest.fixture(scope="module")
def story(module_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    secrets = {name: spellings(secret) for name, secret in (*PLANTED.items(), ("wrong token", WRONG_TOKEN))}
    story = Story(CommandLine(module_home, PLANTED), Lookout(secrets))
    directory = tmp_path_factory.mktemp("systems")
    reports = [word for form in ("junit", "html", "markdown", "json") for word in (f"--{form}", directory / form)]
    over = threading.Event()
    watching = threading.Thread(target=story.lookout.look, args=(over,), daemon=True)
    watching.start()
    try:
        story.do("workspace", "workspace", "start", "--set", "ANSI_MODE=false")
        secrets["workspace token"] = spellings((story.workspace / "server" / "token").read_text().strip())
        story.do("install", "install", "--workspace", story.workspace)
        for name in LENGTHS:
            secrets[name] = spellings((story.stack / "secrets" / name).read_text().strip())
        load_shop(story.run.settings)
        target = Target.make(open_runtime(story.run.settings, silent))
        with target.runtime.postgres.connect("postgres", autocommit=True) as connection:
            connection.execute(f"ALTER ROLE probe PASSWORD '{PLANTED['PROBE_PASSWORD']}'".encode())
        story.do("tables", "tables", "init")
        story.do("apply", "apply", "-f", write_systems(directory))
        story.do("apply pg", "apply", "-f", target.write_systems(directory, "sales"))
        wrong = target.write_systems(directory, "locked")
        wrong.write_text(wrong.read_text().replace("PROBE_PASSWORD", "WRONG_PASSWORD"))
        story.do("apply wrong", "apply", "-f", wrong)
        story.do("profile", "profile", SYSTEM)
        story.do("profile pg", "--output", "json", "profile", "sales")
        story.do("refused", "profile", "locked")
        story.do("generate", "generate", "sales")
        story.do("run-tests", "run-tests", "sales/sales-suite", *reports)
        token = story.workspace / "server" / "token"
        right = token.read_text()
        token.write_text(f"{WRONG_TOKEN}\n")
        story.do("not published", "run-tests", "sales/sales-suite")
        token.write_text(right)
        story.do("published", "publish", "--pending")
        story.do("stopped", "workspace", "stop")
        story.do("unreachable", "tables", "show")
        story.do("started", "workspace", "start")
        yield story
    finally:
        over.set()
        watching.join(30)
        control.stop(story.workspace)


def test_the_commands_did_their_work(story: Story) -> None:
    codes = {what: said.code for what, said in story.said.items()}
    failing = {"refused": 4, "not published": 7, "unreachable": 3}
    assert codes == {what: failing.get(what, 0) for what in codes}, story.said
    assert story.lookout.looks > 20
    assert "postgres" in story.lookout.programs
    assert "published 1 run" in story.said["published"].out
    # A traceback was printed, and what failed for its password said so.
    assert "Traceback" in story.said["unreachable"].err
    assert "password authentication failed" in story.said["refused"].everything
    assert len(story.lookout.secrets) == len(PLANTED) + len(LENGTHS) + 2


def test_no_command_says_a_secret(story: Story) -> None:
    found = [
        (what, secret)
        for what, said in story.said.items()
        for secret, ways in story.lookout.secrets.items()
        if any(way in said.everything.encode() for way in ways)
    ]
    assert found == []


def test_no_process_shows_a_secret(story: Story) -> None:
    assert story.lookout.seen == set()


def files_below(directory: Path, *without: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if Path(parent, name) not in without]
        yield from (path for name in names if (path := Path(parent, name)) not in without and path.is_file())


def holding(path: Path, secrets: dict[str, set[bytes]]) -> list[tuple[str, str]]:
    content = path.read_bytes()
    return [(str(path), secret) for secret, ways in secrets.items() if any(way in content for way in ways)]


def test_no_file_holds_a_secret_but_those_made_for_it(story: Story) -> None:
    private = (story.stack / "secrets", story.workspace / "server" / "token")
    looked = 0
    found = []
    for path in files_below(story.run.home, *private):
        looked += 1
        found += holding(path, story.lookout.secrets)
    assert found == []
    # The database cluster with what TestGen encrypted, the logs and the data are among them.
    assert looked > 1000
    assert (story.stack / "logs" / "testgen.log").stat().st_size > 1000


def test_what_is_searched_would_be_found(story: Story) -> None:
    token = story.workspace / "server" / "token"
    assert holding(token, story.lookout.secrets) == [(str(token), "workspace token")]
    configuration = story.stack / "secrets" / "config.env"
    assert {secret for _, secret in holding(configuration, story.lookout.secrets)} >= {"postgres_password"}


def test_no_report_holds_a_secret(story: Story) -> None:
    written = [
        line.split(" report: ")[1] for line in story.said["run-tests"].err.splitlines() if " report: " in line
    ]
    assert len(written) == 4
    assert [each for path in written for each in holding(Path(path), story.lookout.secrets)] == []


def test_no_published_row_holds_a_secret(story: Story) -> None:
    rows = 0
    for table in (*records.TABLES, ddl.MIGRATIONS):
        content = published(story.run.settings, table.name)
        rows += len(content)
        text = repr(content).encode()
        for secret, ways in story.lookout.secrets.items():
            assert not any(way in text for way in ways), (table.name, secret)
    assert rows > 50


def test_secrets_are_for_their_owner_alone(story: Story) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    private = [story.stack / "secrets", story.workspace / "server", story.stack / "logs", story.stack / "work"]
    assert [(str(path), oct(mode(path))) for path in private if mode(path) != 0o700] == []
    secret_files = [*(story.stack / "secrets").iterdir(), story.workspace / "server" / "token"]
    assert len(secret_files) > len(LENGTHS)
    assert [(str(path), oct(mode(path))) for path in secret_files if mode(path) != 0o600] == []
    logs = list((story.stack / "logs").iterdir())
    assert logs
    assert [(str(path), oct(mode(path))) for path in logs if mode(path) & 0o077] == []
