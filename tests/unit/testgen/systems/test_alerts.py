"""The alerts section: every mistake with its line and what is allowed, every secret by reference."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from dqctl.alerts.rules import HOUR, Alerting, Chat, Route, Rule, Severity, When
from dqctl.errors import UsageError
from dqctl.testgen.systems import alerts_plan
from dqctl.testgen.systems.document import parse
from dqctl.testgen.systems.plan import Change
from dqctl.testgen.systems.references import Sources

DOCS = Path(__file__).parents[4] / "docs" / "alerts.md"
GOOD = """\
version: 1
alerts:
  routes:
    - name: chat
      apprise: {env: CHAT}
    - name: ops
      alertmanager:
        urls: [https://one:9093/, http://two:9093]
        keep: 5m
        token: {env: TOKEN}
  rules:
    - name: orders
      when: failed
      tables: orders*
      severity: critical
      routes: ops
"""
ENVIRONMENT = {"CHAT": "json://127.0.0.1/hook", "TOKEN": "token-of-the-alertmanager-ß"}


def alerting(text: str, base: Path = Path(), **environment: str) -> Alerting:
    found = parse(text, "systems.yaml").alerts
    assert found
    return found.alerting(Sources(environment=ENVIRONMENT | environment, base=base))


def refused(text: str) -> str:
    with pytest.raises(UsageError) as raised:
        parse(text, "systems.yaml")
    return raised.value.message


def test_a_good_section_is_read() -> None:
    found = alerting(GOOD)
    assert found.rules == (
        Rule("orders", (When.FAILED,), Severity.CRITICAL, tables=("orders*",), routes=("ops",)),
    )
    chat, ops = found.routes
    assert (chat.name, chat.chat, chat.receivers) == ("chat", Chat(), ("chat",))
    assert ops.receivers == ("ops https://one:9093", "ops http://two:9093")
    assert ops.alertmanager
    assert ops.alertmanager.keep == 300
    assert ops.secrets["token"].get_secret_value() == ENVIRONMENT["TOKEN"]
    assert [route.name for route in found.routes_of("orders")] == ["ops"]
    assert ENVIRONMENT["TOKEN"] not in repr(found)


def test_the_documents_own_example_is_valid() -> None:
    found = alerting(DOCS.read_text().split("```yaml\n")[1].split("```")[0], TEAM_CHAT_URL="json://127.0.0.1")
    assert [rule.name for rule in found.rules] == ["failures", "not-tested", "orders"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("when: failed", "when: fails", "systems.yaml:13: when: input should be 'run_failed', 'publish_failing',"),
        (
            "when: failed",
            "on: failed",
            "systems.yaml:12: rules: write when in place of on, which YAML takes for true",
        ),
        ("when: failed", "when: []", "systems.yaml:13: when: name at least one"),
        (
            "severity: critical",
            "severity: bad",
            "systems.yaml:15: severity: input should be 'critical', 'warning'",
        ),
        ("routes: ops", "routes: opps", "rule orders names route opps; routes: chat, ops"),
        ("keep: 5m", "keep: 300", "systems.yaml:9: keep: a time is written as 90s, 10m, 26h or 7d, at most 400d"),
        ("https://one:9093/", "one:9093", "an Alertmanager's URL is http://HOST:PORT"),
        ("https://one:9093/", "https://u:hidden@one", "no user and no secret in the URL"),
        ("apprise: {env: CHAT}", "apprise: slack://hidden", "a secret must not stand in the file"),
        ("apprise: {env: CHAT}", "resolved: true", "a route has alertmanager or apprise, one of the two"),
        ("keep: 5m", "user: me", "user and password belong together"),
        ("when: failed", "when: run_late", "tables says nothing about run_late: make two rules of it"),
        ("when: failed", "when: failed\n      every: 26h", "every is for rules with when: run_late"),
        ("when: failed", "when: failed\n      times: 1", "systems.yaml:14: times: input should be greater than"),
        (
            "when: failed\n      tables: orders*",
            "when: run_late\n      every: 26h\n      at: '17 2 * * *'",
            "every and at are two ways to say when",
        ),
        (
            "when: failed\n      tables: orders*",
            "when: run_late\n      at: '17 2 * *'",
            "systems.yaml:14: at: '17 2 * *' is no time of cron's: minute, hour,",
        ),
        ("when: failed\n      tables: orders*", "when: run_late\n      at: 0 0 30 2 *", "that time never comes"),
        (
            "when: failed\n      tables: orders*",
            "when: run_late\n      at: '@daily'\n      timezone: Berlin",
            "systems.yaml:15: timezone: a time zone is written as Europe/Berlin or UTC",
        ),
        (
            "when: failed\n      tables: orders*",
            "when: run_late\n      within: 1h",
            "timezone and within belong to at",
        ),
        ("name: chat", "name: ops", "route ops is declared twice"),
        ("name: orders", "name: a b", "systems.yaml:12: name: string should match pattern"),
    ],
)
def test_mistakes_are_told_with_what_is_allowed(old: str, new: str, message: str) -> None:
    assert old in GOOD
    said = refused(GOOD.replace(old, new))
    assert message in said
    assert "hidden" not in said


def test_an_apprise_url_that_is_none_and_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the URL of route chat is none that Apprise can send to") as raised:
        alerting(GOOD, CHAT="very-hidden")
    assert "very-hidden" not in raised.value.message + raised.value.hint
    with pytest.raises(UsageError, match="variable TOKEN, which is not set"):
        alerting(GOOD, TOKEN="")
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UsageError, match="holds no certificate"):
        alerting(GOOD.replace("keep: 5m", "ca: ca.pem"), base=tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        alerting(GOOD.replace("keep: 5m", "ca: none.pem"), base=tmp_path)


def test_the_plan_says_what_changes_and_hides_secrets() -> None:
    now = alerting(GOOD)
    assert {each.change for each in alerts_plan.plan(now, now)} == {Change.UNCHANGED}
    assert {each.change for each in alerts_plan.plan(now, Alerting())} == {Change.CREATE}
    assert {each.change for each in alerts_plan.plan(Alerting(), now)} == {Change.REMOVE}
    other = alerting(GOOD.replace("keep: 5m", "keep: 6m"), TOKEN="another")
    changed = [each for each in alerts_plan.plan(other, now) if each.change is not Change.UNCHANGED]
    assert [(each.name, [d.column for d in each.differences]) for each in changed] == [("ops", ["keep", "token"])]
    assert "another" not in str(changed)
    (lost,) = alerts_plan.plan(Alerting(), Alerting(), ("gone",))
    assert (lost.change, lost.name) == (Change.REMOVE, "gone")


def test_the_plan_says_of_a_rule_what_counts_for_it_in_the_words_of_the_file() -> None:
    text = (
        GOOD
        + """\
    - {name: late, when: run_late}
    - {name: night, when: run_late, at: '@daily', within: 90m, timezone: Europe/Berlin}
    - {name: score, when: score_drop}
"""
    )
    found = {each.name: each for each in alerts_plan.plan(alerting(text), Alerting())}
    said = {name: {d.column: d.after for d in each.differences} for name, each in found.items()}
    assert said["orders"] == {"when": "failed", "severity": "critical", "tables": "orders*", "routes": "ops"}
    assert said["late"] == {"when": "run_late", "severity": "warning", "every": "26h"}
    assert said["night"] == {
        "when": "run_late", "severity": "warning", "at": "0 0 * * *", "within": "90m",
        "timezone": "Europe/Berlin",
    }  # fmt: skip
    assert said["score"] == {"when": "score_drop", "severity": "warning", "drop": "0.05", "over": 1}
    assert (said["ops"]["keep"], said["chat"]["quiet"]) == ("5m", "36h")


def test_with_a_route_and_no_rule_there_is_one() -> None:
    route = Route("chat", chat=Chat(), secrets={"url": SecretStr("json://x")})
    (rule,) = Alerting((), (route,)).effective
    assert rule.when == (When.RUN_FAILED, When.FAILED, When.ERROR)
    assert rule.every == 26 * HOUR
    assert Alerting((), (route,)).routes_of(rule.name) == (route,)
