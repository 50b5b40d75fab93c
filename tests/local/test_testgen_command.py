"""``dqctl testgen``: stock commands of a real TestGen, their rows in a real local workspace."""

import csv as stock_csv
import json
import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.clock import Deadline
from dqctl.databricks.warehouse import Warehouse
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.records import Column, Table, Type
from dqctl.runtime import Runtime, open_runtime
from dqctl.services import tables
from dqctl.services.apply import apply
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.tables.sql import Place
from dqctl.testgen import contracts, jobs, stock
from dqctl.testgen.capabilities import KNOWN
from publishing import delta, published, running
from target_database import PASSWORD, Target, count

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

# Longer than a cell of TestGen's printed tables, with what CSV quotes.
KEY = "planted-key-4711," + "-".join(["observability"] * 8) + '"end'
NAME = 'The "shop",\r\nline two é 😀'


@dataclass(frozen=True)
class Lab:
    """A stack with a system of two suites, and a workspace to publish to."""

    run: CommandLine
    settings: Settings
    runtime: Runtime
    suite_id: str

    def rows(self, *arguments: object) -> list[dict[str, object]]:
        return self.run.document("testgen", "--", *arguments)["rows"]

    def processes(self) -> list[str]:
        """Command lines of TestGen's processes in this stack."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes()
                argv = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if b"TG_TESTGEN_HOME=" + bytes(self.runtime.paths.secrets) in environment:
                found.append(argv.replace(b"\0", b" ").decode(errors="replace"))
        return found

    @property
    def calls(self) -> Path:
        return self.runtime.paths.root / "calls"


@pytest.fixture(scope="module")
def lab(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("testgen")
    runtime = open_runtime(installed_stack, silent)
    target = Target.make(runtime)
    apply(
        runtime,
        target.write_systems(directory, "sales", more="              - name: second\n"),
        access=None,
        environment={"PROBE_PASSWORD": PASSWORD},
        deadline=Deadline(300),
    )
    with runtime.metadata() as connection:
        connection.execute(
            "UPDATE projects SET observability_api_key = %s, project_name = %s WHERE project_code = 'sales'",
            (KEY, NAME),
        )
        (suite,) = connection.execute("SELECT id::text FROM test_suites WHERE test_suite = 'second'").fetchone()
    with running(directory / "workspace") as workspace:
        settings = installed_stack.model_copy(update={"workspace": workspace})
        run = CommandLine(settings.home, {"DQCTL_WORKSPACE": str(workspace)})
        yield Lab(run, settings, runtime, suite)


def assert_no_key(content: bytes) -> None:
    text = content.decode(errors="replace")
    for piece in ("planted-key-4711", "observability-observability", '"end'):
        assert piece not in text.replace('"endswith', "")


def test_a_good_command_says_what_testgen_says_where_testgen_says_it(lab: Lab) -> None:
    said = lab.run("testgen", "--", "list-projects")
    assert "Output written to: ~/testgen/file-out/list_projects.csv" in said.out
    assert "DEPRECATED" not in said.out
    assert "DEPRECATED: `testgen list-projects`" in said.err
    assert "keep it with --csv FILE" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "where", "text"),
    [
        (("no-such-command",), 2, "err", "No such command 'no-such-command'"),
        (("list-profiles",), 2, "err", "Missing option '-tg'"),
        (("list-tests", "--help"), 0, "out", "Usage: testgen list-tests"),
        (("ui", "plugins"), 0, "out", "plugins installed"),
    ],
)
def test_the_exit_code_is_testgens_own(
    lab: Lab, arguments: tuple[str, ...], code: int, where: str, text: str
) -> None:
    said = lab.run("testgen", "--", *arguments, code=code)
    assert text in getattr(said, where)


def test_a_command_that_breaks_says_so_in_json_too(lab: Lab) -> None:
    document = lab.run.document("testgen", "--", "get-test-results", "-tr", "no-uuid", code=1)
    assert (document["outcome"], document["rows"]) == ("testgen", None)
    assert "Traceback" in document["stdout"]


def test_what_stands_behind_the_command_is_testgens_without_the_dashes_too(lab: Lab) -> None:
    said = lab.run("testgen", "get-test-suite", "-pk", "sales", "-ts", "second", "--display")
    assert "second" in said.out


def test_rows_come_typed_and_without_the_secret(lab: Lab) -> None:
    document = lab.run.document("testgen", "--", "list-projects", "--display")
    assert [column["name"] for column in document["columns"]] == ["id", "project_key", "project_name"]
    (shop,) = [row for row in document["rows"] if row["project_key"] == "sales"]
    assert shop["project_name"] == NAME
    assert set(shop) == {"id", "project_key", "project_name"}
    assert "project_name" in document["stdout"]
    assert document["testgen_version"] == "5.134.0"

    (one, two) = lab.rows("list-test-suites", "-pk", "sales")
    assert (one["connection_id"], one["last_run"]) == (1, None)
    assert two["test_suite_id"] == lab.suite_id
    assert lab.rows("list-test-runs", "-pk", "sales", "-ts", "second") == []


def test_rows_that_testgen_hides_are_counted(lab: Lab) -> None:
    arguments = ("list-test-runs", "-pk", "sales", "-ts", "second")
    assert lab.run.document("testgen", "--", *arguments)["stored_rows"] == 0
    queued = lab.run("testgen", "--", "run-tests", "--no-wait", "-t", lab.suite_id).out
    (job,) = re.findall(r"^Submitted job ([0-9a-f-]{36})", queued, re.MULTILINE)
    with lab.runtime.metadata() as connection:
        connection.execute(
            "INSERT INTO test_runs (id, test_suite_id, test_starttime) VALUES (%s, %s, now())", (job, lab.suite_id)
        )
    try:
        said = lab.run("--output", "json", "testgen", "--", *arguments)
    finally:
        with lab.runtime.metadata() as connection:
            connection.execute("DELETE FROM test_runs")
    assert (said.document["rows"], said.document["stored_rows"]) == ([], 1)
    assert "warning: TestGen has 1 of these rows, and shows 0" in said.err


@pytest.mark.parametrize("options", [("--debug",), ("--output", "json", "--debug")], ids=["table", "json"])
def test_no_output_holds_the_key(lab: Lab, tmp_path: Path, options: tuple[str, ...]) -> None:
    kept = tmp_path / "projects.csv"
    said = lab.run(*options, "testgen", "--publish", "--csv", kept, "--", "-v", "list-projects", "-d")
    assert "sales" in said.everything
    for content in (said.out.encode(), said.err.encode(), kept.read_bytes()):
        assert_no_key(content)
    for log in lab.runtime.paths.logs.iterdir():
        assert_no_key(log.read_bytes())
    rows = published(lab.settings, "dq_cli_list_projects")
    assert rows
    assert_no_key(repr(rows).encode())
    with kept.open(newline="", encoding="utf-8") as file:
        table = list(stock_csv.reader(file))
    assert table[0] == ["id", "project_key", "project_name", "observability_api_key"]
    assert {row[3] for row in table[1:]} == {""}
    assert NAME in {row[2] for row in table[1:]}


def test_an_argument_that_holds_a_secret_is_refused(lab: Lab) -> None:
    secret = (lab.runtime.paths.secrets / "postgres_password").read_text().strip()
    # dqctl itself learns the secret when it opens the stack: of its own process's arguments the user is the lord.
    said = lab.run("testgen", "--", "list-tests", "-ts", secret, code=2)
    assert "holds a secret" in said.err
    assert secret not in said.everything


def test_published_rows_can_be_read_back_and_are_one_insert(lab: Lab) -> None:
    lab.run("testgen", "--publish", "--", "list-test-suites", "-pk", "sales")
    first = delta(lab.settings, "dq_cli_list_test_suites").version()
    before = datetime.now(UTC)
    document = lab.run.document("testgen", "--publish", "--", "list-test-suites", "-pk", "sales")
    assert document["published"]["table"] == "dq_cli_list_test_suites"
    assert document["published"]["rows"] == 2
    rows = [
        row for row in published(lab.settings, "dq_cli_list_test_suites") if row["call_id"] == document["call_id"]
    ]
    assert [row["row_number"] for row in sorted(rows, key=lambda row: row["row_number"])] == [1, 2]
    for row, shown in zip(sorted(rows, key=lambda row: row["row_number"]), document["rows"], strict=True):
        assert row["stack"] == "default"
        assert row["arguments"] == "testgen list-test-suites -pk sales"
        assert row["testgen_version"] == "5.134.0"
        assert before <= row["ran_at"] <= datetime.now(UTC)
        assert {name: row[name] for name in shown} == shown
    history = delta(lab.settings, "dq_cli_list_test_suites").history()
    assert max(each["version"] for each in history) == first + 1


def test_no_rows_are_published_too(lab: Lab) -> None:
    document = lab.run.document("testgen", "--publish", "--", "list-tests", "-pk", "sales", "-ts", "second")
    assert (document["rows"], document["published"]["rows"]) == ([], 0)
    assert published(lab.settings, "dq_cli_list_tests") == []


@pytest.mark.thorough
def test_calls_at_once_neither_overwrite_nor_lose_each_other(lab: Lab) -> None:
    suites = ("sales-suite", "second", "sales-suite", "second")
    started = [
        lab.run.start(
            "--output", "json", "testgen", "--publish", "--", "get-test-suite", "-pk", "sales", "-ts", suite
        )
        for suite in suites
    ]
    documents = []
    for process, suite in zip(started, suites, strict=True):
        said = process.end()
        assert said.code == 0, said
        document = said.document
        assert [row["test_suite_key"] for row in document["rows"]] == [suite]
        documents.append(document)
    found = {row["call_id"]: row["test_suite_key"] for row in published(lab.settings, "dq_cli_get_test_suite")}
    assert found == {document["call_id"]: suite for document, suite in zip(documents, suites, strict=True)}


def test_columns_that_are_new_are_added_and_old_rows_stay(lab: Lab) -> None:
    newest = contracts.contract("list-test-types", KNOWN[0])
    assert newest
    whole = newest.table
    older = Table(
        whole.name,
        whole.comment,
        (
            *(column for column in whole.columns if column.name != "test_description"),
            Column("gone", Type.BIGINT, ""),
        ),
        whole.key,
        whole.cluster_by,
    )
    target = find_target(lab.settings)
    place = Place(target.catalog, target.schema)
    with Warehouse(target) as warehouse:
        tables.ensure(warehouse, place, silent, (older,))
        warehouse.execute(
            f"INSERT INTO {place.table(whole.name)} (stack, call_id, row_number, ran_at, test_type, gone) "
            "VALUES ('old', 'old', 1, current_timestamp(), 'Required', 7)"
        )
    document = lab.run.document("testgen", "--publish", "--", "list-test-types")
    rows = published(lab.settings, whole.name)
    assert len(rows) == 1 + len(document["rows"])
    (old,) = [row for row in rows if row["stack"] == "old"]
    assert (old["gone"], old["test_description"], old["test_type"]) == (7, None, "Required")
    assert {row["gone"] for row in rows if row["stack"] != "old"} == {None}
    assert {row["test_type"]: row["test_description"] for row in rows if row["stack"] != "old"} == {
        row["test_type"]: row["test_description"] for row in document["rows"]
    }


@pytest.mark.thorough
def test_what_cannot_be_published_is_kept_and_published_later(lab: Lab) -> None:
    workspace = lab.settings.workspace
    assert workspace
    control.stop(workspace)
    try:
        document = lab.run.document("testgen", "--publish", "--", "list-projects", code=5)
    finally:
        control.start(workspace)
    call = document["call_id"]
    assert {row["project_key"] for row in document["rows"]} == {"DEFAULT", "sales"}
    assert document["published"] is None
    assert f" testgen --publish-kept {call}" in document["error"]["hint"]
    kept = lab.calls / call / "rows.csv"
    assert str(kept) in document["error"]["hint"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert NAME.encode().replace(b'"', b'""') in kept.read_bytes()
    for path in kept.parent.iterdir():
        assert_no_key(path.read_bytes())

    later = lab.run.document("testgen", "--publish-kept", call)
    assert later["published"]["rows"] == 2
    assert later["rows"] == document["rows"]
    rows = [row for row in published(lab.settings, "dq_cli_list_projects") if row["call_id"] == call]
    assert {row["project_name"] for row in rows if row["project_key"] == "sales"} == {NAME}
    assert {row["ran_at"].isoformat() for row in rows} == {document["ran_at"]}
    assert not kept.exists()
    assert "no call" in lab.run("testgen", "--publish-kept", call, code=2).err


@pytest.mark.thorough
def test_killed_while_it_publishes_the_rows_wait_for_the_next_publish(lab: Lab) -> None:
    process = lab.run.start("testgen", "--publish", "--", "list-projects")
    assert process.hear("publishing 2 rows")
    process.signal(signal.SIGKILL)
    process.end()
    (call,) = [path.parent.name for path in lab.calls.glob("*/call.json")]
    (done,) = lab.run.document("publish", "--pending")["calls"]
    assert (done["call_id"], done["published"]["rows"]) == (call, 2)
    assert [row["call_id"] for row in published(lab.settings, "dq_cli_list_projects")].count(call) == 2
    assert lab.run.document("publish", "--pending")["calls"] == []
    assert not (lab.calls / call).exists()


def test_a_workspace_that_refuses_keeps_the_rows(lab: Lab) -> None:
    assert lab.settings.workspace
    token = lab.settings.workspace / "server" / "token"
    right = token.read_text()
    token.write_text("dapi-wrong-4711-4711\n")
    try:
        document = lab.run.document("testgen", "--publish", "--", "list-connections", code=7)
    finally:
        token.write_text(right)
    assert (lab.calls / document["call_id"] / "rows.csv").exists()
    lab.run("testgen", "--publish-kept", document["call_id"])


@pytest.mark.parametrize("call", ["../../../secrets", "00000000-0000-0000-0000-000000000000"])
def test_only_calls_that_were_kept_are_published(lab: Lab, call: str) -> None:
    assert "no call" in lab.run("testgen", "--publish-kept", call, code=2).err


@pytest.mark.parametrize("wanted", [("--publish",), ("--csv", "plugins.csv")])
def test_a_command_without_rows_is_not_asked_for_them(lab: Lab, wanted: tuple[str, ...]) -> None:
    said = lab.run("testgen", *wanted, "--", "ui", "plugins", code=2)
    assert "testgen ui of version 5.134.0 has no rows" in said.err
    assert "list-projects" in said.err


def test_nowhere_to_publish_is_said_before_anything_runs(lab: Lab) -> None:
    said = CommandLine(lab.settings.home)("testgen", "--publish", "--", "list-projects", code=2)
    assert "databricks host" in said.err
    assert "DEPRECATED" not in said.everything


def test_a_csv_that_does_not_fit_is_kept_and_named(lab: Lab) -> None:
    with lab.runtime.metadata() as connection:
        connection.execute("ALTER TABLE connections ALTER COLUMN max_threads TYPE varchar(30)")
        connection.execute("UPDATE connections SET max_threads = 'four'")
    try:
        document = lab.run.document("testgen", "--", "list-connections", code=4)
    finally:
        with lab.runtime.metadata() as connection:
            connection.execute("ALTER TABLE connections ALTER COLUMN max_threads TYPE integer USING 4")
    assert "max_threads of row 1 is no integer" in document["error"]["message"]
    (saved,) = [path for path in lab.calls.glob("*/rows.csv") if str(path) in document["error"]["hint"]]
    assert b"four" in saved.read_bytes()
    assert "no call" in lab.run("testgen", "--publish-kept", saved.parent.name, code=2).err


def test_a_file_that_cannot_be_written_hides_nothing(lab: Lab) -> None:
    document = lab.run.document("testgen", "--csv", "/dev/null/x.csv", "--", "list-connections", code=3)
    assert len(document["rows"]) == 1
    assert document["csv"] is None
    assert "/dev/null/x.csv" in document["error"]["message"]


# One of each kind; tests/unit/testgen/test_stock.py has all, in all spellings.
REFUSED = [
    ("--", "quick-start"),
    ("setup-system-db", "--delete-db", "--yes"),
    ("upgrade-system-version",),
    ("run-app", "scheduler"),
    ("run-tests", "-t", "00000000-0000-0000-0000-000000000000"),
]


def test_refused_commands_touch_nothing(lab: Lab) -> None:
    def seen() -> tuple[str, int, int]:
        with lab.runtime.metadata() as connection:
            oid = connection.execute("SELECT oid::text FROM pg_database WHERE datname = 'datakitchen'").fetchone()
            queued = count(connection, "SELECT count(*) FROM job_executions")
        return str(oid), queued, (lab.runtime.paths.logs / "testgen.log").stat().st_size

    before = seen()
    for arguments in REFUSED:
        said = lab.run("testgen", "--", *arguments, code=2)
        assert "error: testgen" in said.err, said
        assert "hint:" in said.err
        assert said.out == ""
    assert seen() == before
    said = lab.run("testgen", "--", "quick-start", "--help")
    assert "Usage: testgen quick-start" in said.out


def test_force_runs_what_is_refused_and_standard_input_goes_in(lab: Lab) -> None:
    process = lab.run.start("testgen", "--force", "--stdin", "--", "setup-system-db", stdin="n\n")
    said = process.end()
    assert said.code == 0, said
    assert "Exiting without any operation performed" in said.out
    # Nobody waits for an answer: without --stdin there is nothing to read.
    assert "Aborted" in lab.run("testgen", "--force", "--", "setup-system-db", code=1).err


@pytest.mark.parametrize(
    ("number", "whole_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_an_interruption_leaves_no_process(lab: Lab, number: signal.Signals, whole_code: int) -> None:
    process = lab.run.start("testgen", "--force", "--", "run-tests", "-t", lab.suite_id)
    # The line is here while the command still runs: output is passed on as it comes.
    assert process.hear("Waiting for completion...", stdout=True)
    assert lab.processes()
    process.signal(number)
    said = process.end(60)
    assert said.code == whole_code, said
    assert lab.processes() == []
    assert list(lab.runtime.paths.work.iterdir()) == []


def test_a_process_that_a_signal_ends_gives_128_and_its_number(lab: Lab) -> None:
    process = lab.run.start("--output", "json", "testgen", "--force", "--", "run-tests", "-t", lab.suite_id)
    end = time.monotonic() + 120
    inner: list[int] = []
    while not inner and time.monotonic() < end:
        inner = [
            int(each.name)
            for each in Path("/proc").glob("[0-9]*")
            if (each / "cmdline").exists() and _is_inner(each, lab.suite_id)
        ]
        time.sleep(0.1)
    (pid,) = inner
    time.sleep(2)
    os.kill(pid, signal.SIGKILL)
    said = process.end(60)
    assert said.code == 137, said
    assert said.document["outcome"] == "testgen"


def _is_inner(process: Path, suite: str) -> bool:
    try:
        argv = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return suite.encode() in argv and b"dqctl" not in argv


def test_the_deadline_ends_a_command_that_waits(lab: Lab) -> None:
    said = lab.run("testgen", "--force", "--timeout", 6, "--", "run-tests", "-t", lab.suite_id, code=3)
    assert "did not finish within 6 s" in said.err
    assert lab.processes() == []


def test_what_changes_the_stack_waits_for_other_work_and_what_reads_does_not(lab: Lab) -> None:
    with lab.runtime.metadata() as held, jobs.exclusive(held, 0, "dqctl profile"):
        said = lab.run("testgen", "--", "run-tests", "--no-wait", "-t", lab.suite_id, code=6)
        assert "dqctl profile" in said.err
        assert lab.run("testgen", "--", "list-projects").code == 0
    said = lab.run("testgen", "--", "run-tests", "--no-wait", "-t", lab.suite_id)
    assert "Submitted job" in said.out


def test_every_command_that_testgen_has_is_known_to_be_harmless_or_refused(lab: Lab) -> None:
    """A version that brings a new command that is none of these needs a decision."""
    said = lab.run("testgen", "--", "--help").out
    section = said[said.index("Commands:") :]
    names = {line.split()[0] for line in section.splitlines()[1:] if line.startswith("  ") and line[2] != " "}
    lines = {name: stock.read([name]) for name in names}
    decided = {name for name, line in lines.items() if line.is_reading or line.hurts or line.waits}
    assert names - decided == {"export-observability", "export-test-metadata", "run-monitor-generation"}
    assert {name for name in names if name.startswith(("list-", "get-"))} == set(contracts.COMMANDS)


def test_json_is_one_object_even_where_testgen_prints(lab: Lab) -> None:
    said = lab.run("--output", "json", "testgen", "--", "list-projects", "-d")
    assert json.loads(said.out)["stdout"].count("\n") > 3
