"""Alerts of a real stack to a real Alertmanager, a real mailbox and a real web server."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from alert_receivers import Alertmanager, Mailbox, Web, alertmanager, free_port, mailbox, text_of, wait_for, web
from command_line import CommandLine
from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import alerts, credentials
from dqctl.services.alerts import AlertReport, raise_alerts
from dqctl.services.apply import apply
from dqctl.services.target import name_of_target
from dqctl.settings import Settings
from dqctl.testgen import exclusive
from dqctl.testgen.state import capture
from target_database import PASSWORD, Target, count

pytestmark = pytest.mark.local

SECRET = "hook-token-0815-very-secret"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def settings(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A stack with a system of one suite."""
    target = Target.make(open_runtime(installed_stack, silent))
    file = target.write_systems(tmp_path_factory.mktemp("alerts"), "sales")
    declare(target.runtime, file)
    return installed_stack


@pytest.fixture
def runtime(settings: Settings) -> Iterator[LocalRuntime]:
    """Its runtime, with no run and nothing said; what a test declares is gone afterwards."""
    found = open_runtime(settings, silent)
    assert isinstance(found, LocalRuntime)
    yield found
    with found.metadata() as connection:
        connection.execute("DELETE FROM test_results")
        connection.execute("DELETE FROM test_runs")
        connection.execute("DELETE FROM job_executions")
        connection.execute("DELETE FROM test_definitions")
        if connection.execute("SELECT to_regclass('dqctl.alerts')").fetchone() != (None,):
            for table in ("alerts", "alert_told", "alert_rules", "alert_routes", "alert_receivers"):
                connection.execute(f"DELETE FROM dqctl.{table}")
            connection.execute("DROP TABLE IF EXISTS dqctl.alert_suites")


@pytest.fixture
def chat() -> Iterator[Web]:
    with web() as found:
        yield found


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with alertmanager(tmp_path_factory.mktemp("manager") / "alertmanager") as found:
        yield found


def declare(runtime: LocalRuntime, file: Path, **environment: str) -> Any:
    return apply(
        runtime,
        file,
        access=None,
        environment={"PROBE_PASSWORD": PASSWORD, **environment},
        deadline=Deadline(300),
    )


@pytest.fixture
def declared(runtime: LocalRuntime, tmp_path: Path) -> Callable[..., Any]:
    """Apply an alerts section."""

    def run(section: str, **environment: str) -> Any:
        file = tmp_path / "alerts.yaml"
        file.write_text(f"version: 1\nalerts:\n{section}")
        return declare(runtime, file, **environment)

    return run


class Night:
    """Runs of the suite, stored as TestGen stores them, one an hour; and what a look after each comes to."""

    def __init__(self, settings: Settings, runtime: LocalRuntime) -> None:
        self.settings, self.runtime, self.now = settings, runtime, NOW - timedelta(days=20)
        self.definitions: dict[str, str] = {}
        with runtime.metadata() as connection:
            row = connection.execute("SELECT id, table_groups_id FROM test_suites").fetchone()
            assert row
            self.suite, self.group = row

    def run(
        self, *failed: str, passed: tuple[str, ...] = (), status: str = "completed", word: str = "Failed"
    ) -> str:
        """A run in which the tests ``failed`` did not pass; its id."""
        job = str(uuid4())
        self.now += timedelta(hours=1)
        ended = self.now.replace(tzinfo=None)
        with self.runtime.metadata() as connection:
            connection.execute(
                "INSERT INTO job_executions (id, project_code, job_key, kwargs, source, status, created_at,"
                " started_at, completed_at, error_message)"
                " VALUES (%s, 'sales', 'run-tests', %s, 'cli', %s, %s, %s, %s, %s)",
                [
                    job,
                    json.dumps({"test_suite_id": str(self.suite)}),
                    status,
                    ended,
                    ended,
                    ended,
                    None if status == "completed" else "could not read 'a secret value'",
                ],
            )
            connection.execute(
                "INSERT INTO test_runs (id, test_suite_id, test_starttime) VALUES (%s, %s, %s)",
                [job, self.suite, ended],
            )
            for name in (*failed, *passed):
                connection.execute(
                    "INSERT INTO test_results (test_run_id, test_suite_id, table_groups_id, test_definition_id,"
                    " test_type, test_time, schema_name, table_name, result_code, severity, result_status,"
                    " result_message, auto_gen) VALUES"
                    " (%s, %s, %s, %s, 'CUSTOM', %s, 'sales', 'orders', 0, 'Fail', %s, '3 errors found.', false)",
                    [job, self.suite, self.group, self._definition(name, connection), ended,
                     word if name in failed else "Passed"],
                )  # fmt: skip
        return job

    def _definition(self, name: str, connection: Any) -> str:
        if name not in self.definitions:
            (self.definitions[name],) = connection.execute(
                "INSERT INTO test_definitions (table_groups_id, test_suite_id, test_type, schema_name, table_name,"
                " skip_errors, custom_query, test_description, test_active, lock_refresh)"
                " VALUES (%s, %s, 'CUSTOM', 'sales', 'orders', 0, 'SELECT 1', %s, 'Y', 'Y') RETURNING id",
                [self.group, self.suite, name],
            ).fetchone()
        return self.definitions[name]

    def look(self, *, after: timedelta = timedelta(minutes=1)) -> AlertReport:
        """A look ``after`` the last run."""
        self.now += after
        clock = replace(SYSTEM_CLOCK, now=lambda: self.now)
        return raise_alerts(self.settings, self.runtime, clock=clock)


@pytest.fixture
def night(settings: Settings, runtime: LocalRuntime) -> Night:
    return Night(settings, runtime)


CHAT = "  routes:\n    - name: chat\n      apprise: {env: HOOK}\n"


def hooked(web: Web) -> dict[str, str]:
    return {"HOOK": f"json://127.0.0.1:{web.port}/{SECRET}"}


def test_with_nothing_declared_a_look_changes_and_says_nothing(night: Night) -> None:
    night.run("a")
    assert night.look() == AlertReport()


def test_one_run_with_500_failures_is_one_message_with_what_matters(
    night: Night, declared: Callable[..., Any], chat: Web
) -> None:
    declared(CHAT, **hooked(chat))
    run = night.run(*(f"test {number}" for number in range(500)))
    report = night.look()
    assert (report.firing, len(report.began), report.errors) == (500, 500, ())
    (message,) = chat.posted
    assert message["title"] == "dqctl default: sales/sales-suite: 500 tests failed"
    lines = message["message"].splitlines()
    assert len(lines) <= 30
    assert lines[0] == f"sales/sales-suite (run {run})"
    shown = sum(line.startswith("  warning: orders: CUSTOM: 3 errors found.") for line in lines)
    assert f"and {500 - shown} more" in lines
    assert f"dqctl results {run}" in lines
    assert night.look().sent == ()
    assert len(chat.posted) == 1


def test_what_fails_passes_and_fails_again_is_said_once_until_it_has_been_good_for_long(
    night: Night, declared: Callable[..., Any], chat: Web
) -> None:
    declared(CHAT + "      resolved: true\n      quiet: 36h\n", **hooked(chat))
    night.run("a")
    night.look()
    night.run(passed=("a",))
    assert len(night.look().resolved) == 1
    night.run("a")
    assert len(night.look().began) == 1
    assert [each["title"] for each in chat.posted] == ["dqctl default: sales/sales-suite: 1 test failed"]

    night.run(passed=("a",))
    night.look()
    night.look(after=timedelta(hours=37))
    assert chat.posted[1]["title"] == "dqctl default: sales/sales-suite: 1 good again"
    night.run("a")
    night.look()
    assert [each["title"] for each in chat.posted[2:]] == ["dqctl default: sales/sales-suite: 1 test failed"]


def test_what_could_not_be_sent_is_sent_later_in_one_message_and_once(
    night: Night, declared: Callable[..., Any], chat: Web
) -> None:
    declared(CHAT, **hooked(chat))
    chat.answer = 500
    night.run("a", "b")
    refused = night.look()
    (error,) = refused.errors
    assert isinstance(error, EnvironmentFault)
    assert "did not reach route chat" in error.message
    assert SECRET not in error.message
    assert refused.sent == ()
    night.run("b", "c", passed=("a",))
    assert night.look().errors
    (listed,) = alerts.overview(night.settings).receivers
    assert listed.error
    assert SECRET not in listed.error

    chat.answer = 200
    chat.delay = 30.0  # Apprise waits 4 s
    assert night.look().errors
    chat.delay = 0.0
    assert wait_for(lambda: night.look().sent, "the message")
    later = chat.posted[-1]
    assert later["title"] == "dqctl default: sales/sales-suite: 2 tests failed"
    assert "Failed and passed again while this could not be sent:" in later["message"]
    before = len(chat.posted)
    assert night.look().sent == ()
    assert len(chat.posted) == before
    (listed,) = alerts.overview(night.settings).receivers
    assert listed.error is None


def test_a_mail_arrives_when_the_server_is_back(night: Night, declared: Callable[..., Any]) -> None:
    port = free_port()
    declared(CHAT, HOOK=Mailbox(port).url)
    run = night.run("a")
    assert "did not reach route chat" in night.look().errors[0].message
    with mailbox(port) as box:
        (sent,) = night.look().sent
        assert (sent.receiver, sent.began) == ("chat", 1)
        (mail,) = box.mails
        assert mail["Subject"] == "dqctl default: sales/sales-suite: 1 test failed"
        assert f"dqctl results {run}" in text_of(mail)
        assert night.look().sent == ()
        assert len(box.mails) == 1


def managed(*managers: Alertmanager, more: str = "") -> str:
    urls = ", ".join(each.url for each in managers)
    return f"  routes:\n    - name: ops\n      alertmanager:\n        urls: [{urls}]\n        keep: 26h\n{more}"


def of(night: Night, manager: Alertmanager) -> dict[str, dict[str, Any]]:
    """What fires there of this night's tests, by the test's name."""
    names = {str(each): name for name, each in night.definitions.items()}
    found = {each["labels"]["test"]: each for each in manager.alerts()}
    return {names[test]: each for test, each in found.items() if test in names}


def test_alertmanager_has_what_fires_and_loses_what_passes(
    night: Night, declared: Callable[..., Any], manager: Alertmanager
) -> None:
    declared(managed(manager))
    night.now = NOW - timedelta(hours=3)  # what ended long ago is none to Alertmanager
    night.run("a", "b")
    night.look()
    first = of(night, manager)
    assert {name: each["labels"]["alertname"] for name, each in first.items()} == {
        "a": "DataTestFailed",
        "b": "DataTestFailed",
    }
    night.look()
    night.run("b", passed=("a",))
    night.look()
    (before, after) = first["b"], of(night, manager)["b"]
    assert of(night, manager).keys() == {"b"}
    assert (after["fingerprint"], after["startsAt"]) == (before["fingerprint"], before["startsAt"])
    assert after["endsAt"] > before["endsAt"]
    assert night.look().resolved == ()


def test_alertmanager_is_told_anew_after_a_restart_and_each_of_two_for_itself(
    night: Night, declared: Callable[..., Any], manager: Alertmanager, chat: Web, tmp_path: Path
) -> None:
    night.now = NOW - timedelta(hours=5)
    with alertmanager(tmp_path / "second", f"{chat.url}/") as second:
        declared(managed(manager, second))
        night.run("a", "b")
        night.look()
        notified = wait_for(lambda: chat.posted, "the notification")
        assert len(notified[0]["alerts"]) == 2  # grouped: one run is one notification
        second.stop()
        night.run(passed=("a", "b"))
        (error,) = night.look().errors
        assert second.url in error.message
        assert of(night, manager) == {}
        # It has forgotten everything; what it never heard the end of is ended.
        second.start()
        night.look()
        assert of(night, second) == {}
        night.run("a")
        night.look()
        second.stop()
        second.start()
        night.look()
        assert len(second.alerts()) == 1
    night.run(passed=("a",))
    night.look()


def test_a_token_and_a_password_reach_alertmanager_and_nothing_else(
    night: Night, declared: Callable[..., Any], chat: Web, settings: Settings, runtime: LocalRuntime
) -> None:
    for sign_in, expected in (
        ("        token: {env: HOOK}\n", f"Bearer {SECRET}"),
        ("        user: dq\n        password: {env: HOOK}\n", "Basic "),
    ):
        declared(
            f"  routes:\n    - name: ops\n      alertmanager:\n        urls: {chat.url}/prefix/\n{sign_in}",
            HOOK=SECRET,
        )
        night.run("a")
        night.look()
        assert chat.headers[-1]["Authorization"].startswith(expected)
    with runtime.metadata() as connection:
        for (name,) in connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'dqctl'"
        ).fetchall():
            rows = connection.execute(f"SELECT t::text FROM dqctl.{name} t").fetchall()
            assert not [row for row in rows if SECRET in row[0]], name
    for path in settings.home.joinpath("stacks", settings.stack).rglob("*"):
        if path.is_file() and "postgres" not in path.parts:
            assert SECRET.encode() not in path.read_bytes(), path


def test_rotated_keys_open_routes_and_lost_ones_ask_for_another_apply(
    night: Night, declared: Callable[..., Any], chat: Web, settings: Settings, runtime: LocalRuntime
) -> None:
    declared(CHAT, **hooked(chat))
    credentials.rotate(settings, ["decrypt_salt", "decrypt_password"], progress=silent)
    night.run("a")
    assert [each.receiver for each in night.look().sent] == ["chat"]
    with runtime.metadata() as connection:
        connection.execute(
            "UPDATE dqctl.alert_routes SET secrets = jsonb_set(secrets, '{url}', to_jsonb(%s::text))",
            ["dqctl-sealed:1:" + "A" * 80],
        )
    night.run("b")
    (error,) = night.look().errors
    assert "route chat is sealed under other keys" in error.message
    assert "dqctl apply" in error.hint
    assert declared(CHAT, **hooked(chat)).changed
    assert night.look().errors == ()


def test_a_rule_of_another_version_is_told_and_keeps_no_other_from_firing(
    night: Night, declared: Callable[..., Any], chat: Web, runtime: LocalRuntime
) -> None:
    rules = "  rules:\n    - {name: one, when: failed}\n    - {name: two, when: run_failed}\n"
    declared(CHAT + rules, **hooked(chat))
    with runtime.metadata() as connection:
        connection.execute(
            "UPDATE dqctl.alert_rules SET rule = jsonb_set(rule, '{when}', '[\"eclipse\"]') WHERE name = 'two'"
        )
    night.run("a")
    report = night.look()
    assert [each.receiver for each in report.sent] == ["chat"]
    (error,) = report.errors
    assert "declared the rule two" in error.message
    assert declared(CHAT + rules, **hooked(chat)).changed
    assert night.look().errors == ()


def test_rules_choose_by_name_count_runs_and_notice_silence(
    night: Night, declared: Callable[..., Any], chat: Web
) -> None:
    declared(
        CHAT + "  rules:\n"
        "    - {name: other, when: failed, suites: [nothing-*]}\n"
        "    - {name: again, when: repeated, times: 2, tables: 'ORD*', severity: critical}\n"
        "    - {name: broken, when: run_failed}\n"
        "    - {name: late, when: run_late, every: 26h}\n",
        **hooked(chat),
    )
    night.run("a")
    assert night.look().firing == 0
    night.run("a", "b")
    report = night.look()
    assert [each.annotations["summary"] for each in report.began] == ["orders: CUSTOM failed 2 times in a row"]
    assert [each.severity.value for each in report.began] == ["critical"]
    night.run(status="error")
    (broken,) = night.look().began
    assert broken.labels["alertname"] == "DataQualityRunFailed"
    assert broken.annotations["message"] == "could not read '…'"
    (late,) = night.look(after=timedelta(hours=27)).began
    assert late.annotations["summary"].endswith("expected every 26 h")
    night.run(passed=("a", "b"))
    assert night.look().firing == 0
    assert len(chat.posted) == 3


def test_a_test_that_cannot_be_evaluated_any_more_goes_on_failing(
    night: Night, declared: Callable[..., Any], chat: Web, manager: Alertmanager
) -> None:
    declared(managed(manager, more="    - name: chat\n      apprise: {env: HOOK}\n"), **hooked(chat))
    night.now = NOW - timedelta(hours=9)
    night.run("a")
    assert night.look().firing == 1
    night.run("a", word="Error")
    report = night.look()
    assert ([each.labels["alertname"] for each in report.began], report.resolved) == (["DataTestError"], ())
    assert {each["labels"]["alertname"] for each in manager.alerts()} >= {"DataTestFailed", "DataTestError"}
    night.run(passed=("a",))
    assert (len(night.look().resolved), of(night, manager)) == (2, {})
    assert [each["title"].rpartition(": ")[2] for each in chat.posted] == [
        "1 test failed",
        "1 test could not be evaluated",
    ]


def test_another_severity_is_said_and_not_taken_for_the_end_of_the_trouble(
    night: Night, declared: Callable[..., Any], chat: Web
) -> None:
    section = CHAT + "      resolved: true\n  rules:\n    - {name: all, when: failed, severity: %s}\n"
    declared(section % "warning", **hooked(chat))
    night.run("a")
    night.look()
    declared(section % "critical", **hooked(chat))
    night.look()
    night.look(after=timedelta(hours=40))
    assert [each["title"] for each in chat.posted] == ["dqctl default: sales/sales-suite: 1 test failed"] * 2
    assert "  critical: orders" in chat.posted[1]["message"]
    night.run(passed=("a",))
    night.look()
    night.look(after=timedelta(hours=40))
    assert [each["title"] for each in chat.posted[2:]] == ["dqctl default: sales/sales-suite: 1 good again"]


def test_a_suite_that_is_new_is_late_when_its_time_has_passed_and_not_before(
    night: Night, declared: Callable[..., Any], chat: Web, runtime: LocalRuntime
) -> None:
    declared(CHAT + "  rules:\n    - {name: late, when: run_late, every: 26h}\n", **hooked(chat))
    night.now = NOW
    night.run(passed=("a",))
    assert night.look().firing == 0
    with runtime.metadata() as connection:
        connection.execute("UPDATE dqctl.alert_rules SET since = since - interval '30 days'")
        connection.execute(
            "INSERT INTO test_suites (id, project_code, test_suite, connection_id, table_groups_id)"
            " SELECT gen_random_uuid(), project_code, 'new-suite', connection_id, table_groups_id FROM test_suites"
        )
    try:
        assert night.look().firing == 0
        assert night.look(after=timedelta(hours=20)).firing == 0
        late = night.look(after=timedelta(hours=7)).began
        assert {each.labels["suite"] for each in late} == {"new-suite", "sales-suite"}
        assert "new-suite: never tested, expected every 26 h" in chat.posted[0]["message"]
    finally:
        with runtime.metadata() as connection:
            connection.execute("DELETE FROM test_suites WHERE test_suite = 'new-suite'")


def test_results_that_are_not_published_are_an_alert_until_they_are(
    night: Night, declared: Callable[..., Any], chat: Web, tmp_path: Path
) -> None:
    declared(CHAT + "  rules:\n    - {name: waiting, when: publish_failing, after: 30m}\n", **hooked(chat))
    run = night.run("a")
    assert night.look().firing == 0  # there is nowhere to publish to
    night.settings = night.settings.model_copy(update={"workspace": tmp_path / "gone"})
    assert night.look().firing == 0
    assert night.look(after=timedelta(hours=1)).firing == 1
    assert chat.posted[0]["title"] == "dqctl default: results are not published"
    with night.runtime.metadata() as connection:
        connection.execute(
            "INSERT INTO dqctl.published (home, run_id, target, checksum) VALUES ('h', %s, %s, '')",
            [run, name_of_target(night.settings)],
        )
    assert len(night.look().resolved) == 1
    with night.runtime.metadata() as connection:
        connection.execute("DELETE FROM dqctl.published")


def test_a_test_that_is_switched_off_dismissed_or_gone_is_no_alert_any_more(
    night: Night, declared: Callable[..., Any], chat: Web, runtime: LocalRuntime
) -> None:
    declared(CHAT, **hooked(chat))
    night.run("off", "dismissed", "gone", "stays")
    assert night.look().firing == 4
    with runtime.metadata() as connection:
        connection.execute(
            "UPDATE test_definitions SET test_active = 'N' WHERE id = %s", [night.definitions["off"]]
        )
        connection.execute(
            "UPDATE test_results SET disposition = 'Dismissed' WHERE test_definition_id = %s",
            [night.definitions["dismissed"]],
        )
        connection.execute("DELETE FROM test_definitions WHERE id = %s", [night.definitions["gone"]])
    report = night.look()
    assert (report.firing, len(report.resolved)) == (1, 3)


def test_who_comes_while_another_tells_waits_or_says_so(
    night: Night, declared: Callable[..., Any], chat: Web, runtime: LocalRuntime
) -> None:
    declared(CHAT, **hooked(chat))
    night.run("a")
    seconds = [0.0]

    def sleep(wait: float) -> None:
        seconds[0] += wait

    clock = Clock(now=lambda: night.now, monotonic=lambda: seconds[0], sleep=sleep)
    with runtime.metadata() as other, exclusive.alone(other, exclusive.ALERTS, 0):
        report = raise_alerts(night.settings, runtime, clock=clock)
    assert [error.exit_code.word for error in report.errors] == ["busy"]
    assert chat.posted == []
    night.look()
    assert len(chat.posted) == 1


def test_several_who_look_at_the_same_moment_say_it_once(
    night: Night, declared: Callable[..., Any], chat: Web
) -> None:
    declared(CHAT, **hooked(chat))
    night.run("a")
    chat.delay = 0.5  # all of them have come before the first one is done
    with ThreadPoolExecutor(4) as pool:
        reports = [each.result(120) for each in [pool.submit(night.look) for _ in range(4)]]
    assert [report.errors for report in reports] == [()] * 4
    assert len(chat.posted) == 1


def test_what_was_said_is_saved_and_a_look_that_finds_nothing_new_leaves_nothing_to_save(
    night: Night, declared: Callable[..., Any], chat: Web, manager: Alertmanager, runtime: LocalRuntime
) -> None:
    declared(managed(manager, more="    - name: chat\n      apprise: {env: HOOK}\n"), **hooked(chat))
    night.now = NOW - timedelta(hours=7)
    night.run("a")
    with runtime.metadata() as connection:
        saved = {each.name for each in capture.ensure(connection) if each.name.startswith("dqctl.alert")}
        assert saved == {"dqctl.alerts", "dqctl.alert_told", "dqctl.alert_rules", "dqctl.alert_routes"}
        try:
            night.look()
            assert (
                count(connection, "SELECT count(*) FROM dqctl.state_changes WHERE relation = 'dqctl.alerts'") == 1
            )
            connection.execute("DELETE FROM dqctl.state_changes")
            connection.commit()
            night.look()
            assert count(connection, "SELECT count(*) FROM dqctl.state_changes") == 0
        finally:
            connection.rollback()
            capture.end(connection)
    night.run(passed=("a",))
    night.look()


def test_the_second_apply_changes_nothing_and_the_plan_shows_no_secret(
    night: Night, declared: Callable[..., Any], chat: Web, runtime: LocalRuntime
) -> None:
    section = CHAT + "  rules:\n    - {name: all, when: [failed, error]}\n"
    first = declared(section, **hooked(chat))
    assert [(each.change.value, each.kind.value, each.name) for each in first.plan.changes] == [
        ("create", "alert_route", "chat"),
        ("create", "alert_rule", "all"),
    ]
    assert SECRET not in str(first)
    assert not declared(section, **hooked(chat)).changed
    (other,) = declared(section, HOOK="json://127.0.0.1:1/other").plan.changes
    assert [(each.column, each.before, each.after) for each in other.differences] == [
        ("url", "********", "********")
    ]
    night.run("a")
    gone = declared("  rules: []\n")
    assert [each.change.value for each in gone.plan.changes] == ["remove", "remove"]
    with runtime.metadata() as connection:
        assert count(connection, "SELECT count(*) FROM dqctl.alert_routes") == 0
    with pytest.raises(UsageError, match="none that Apprise can send to") as refused:
        declared(CHAT, HOOK=SECRET)
    assert SECRET not in refused.value.message + refused.value.hint


def test_the_commands_list_what_fires_and_try_routes(
    night: Night, declared: Callable[..., Any], chat: Web, settings: Settings
) -> None:
    command = CommandLine(settings.home)
    assert command("alerts", "list").out == "no alerts are declared: docs/alerts.md\n"
    assert "no route is declared" in command("alerts", "test", code=2).err
    declared(CHAT, **hooked(chat))
    night.run("a")
    night.look()
    found = command.document("alerts", "list")
    assert [(each["labels"]["suite"], each["told"]) for each in found["firing"]] == [("sales-suite", ["chat"])]
    assert [each["name"] for each in found["rules"]] == ["default"]
    assert [each["kind"] for each in found["routes"]] == ["apprise"]
    said = command("alerts", "list").everything
    assert "orders: CUSTOM" in said
    command("alerts", "test", "--route", "chat")
    assert chat.posted[-1]["title"] == "dqctl default: this is a test"
    chat.answer = 500
    refused = command("--debug", "alerts", "test", code=3)
    assert "did not reach route chat" in refused.err
    assert SECRET not in refused.everything + said + json.dumps(found)
    assert "there is no route other" in command("alerts", "test", "--route", "other", code=2).err


def test_a_command_that_works_tells_and_a_receiver_that_is_gone_fails_no_command(
    night: Night,
    declared: Callable[..., Any],
    chat: Web,
    settings: Settings,
    runtime: LocalRuntime,
) -> None:
    command = CommandLine(settings.home)
    declared(CHAT, **hooked(chat))
    with runtime.metadata() as connection:
        connection.execute(
            "INSERT INTO test_definitions (table_groups_id, test_suite_id, test_type, schema_name, table_name,"
            " skip_errors, custom_query, test_active, lock_refresh)"
            " VALUES (%s, %s, 'CUSTOM', 'sales', 'orders', 0, 'SELECT 1 FROM sales.orders LIMIT 1', 'Y', 'Y')",
            [night.group, night.suite],
        )
    said = command.document("run-tests", "sales-suite", code=5)
    (message,) = chat.posted
    assert message["title"] == "dqctl default: sales/sales-suite: 1 test failed"
    assert said["runs"][0]["run"]["run_id"] in message["message"]
    assert said["alerts"]["sent"] == [{"receiver": "chat", "began": 1, "ended": 0, "passed": 0}]
    with runtime.metadata() as connection:
        connection.execute("DELETE FROM dqctl.alert_told")
    chat.answer = 503
    again = command("--quiet", "run-tests", "sales-suite", "--fail-on", "never", code=5)
    assert "warning: alerts did not reach route chat" in again.err
