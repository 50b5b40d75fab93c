"""Prometheus and Alertmanager beside a stack: they read, judge and pass on, and nobody needs them."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import yaml

import docker
from command_line import CommandLine
from container_stacks import container_stack, containers, left_over
from dqctl.progress import silent
from dqctl.runtime import open_runtime

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

STACK = "monit"
BOTH = {"prometheus", "alertmanager"}

# A run that TestGen could not end, as its own tables would have it.
_BROKEN = """
INSERT INTO job_executions (project_code, job_key, source, status, started_at, completed_at)
SELECT project_code, 'run-profile', 'cli', 'error', now(), now() FROM projects LIMIT 1
"""


def within(seconds: float, found: Callable[[], Any]) -> Any:
    """What ``found`` finds, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"nothing after {seconds:g} s"
        time.sleep(0.3)
    return result


def ask(page: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"{page}{path}", timeout=30) as answer:  # noqa: S310 - it is http
            return json.load(answer)
    except OSError:  # it is just starting
        return None


@pytest.fixture(scope="module")
def run(images: object, build_images: Callable[..., list[str]]) -> Iterator[CommandLine]:
    """A stack that is watched. No registry has Grafana here."""
    prometheus, alertmanager, _ = build_images("prometheus", "alertmanager", "controller")
    given = {"DQCTL_PROMETHEUS_IMAGE": prometheus, "DQCTL_ALERTMANAGER_IMAGE": alertmanager}
    ports = {"DQCTL_PROMETHEUS_PORT": "0", "DQCTL_ALERTMANAGER_PORT": "0"}
    with container_stack(STACK, DQCTL_GRAFANA_IMAGE="none", **given, **ports) as run:
        run("install", "--with", "monitoring", timeout=400)
        yield run
        # What they kept goes with the stack, also where they went before it.
        run("install", "--without", "monitoring")
        run("uninstall", "--purge")
        assert left_over(STACK) == []


@pytest.fixture
def pages(run: CommandLine) -> Mapping[str, str]:
    """Where the two are, as ``status`` says."""
    found = run.document("status")["monitoring"]
    assert set(found) == BOTH
    return dict(found)


def test_a_run_that_breaks_is_an_alert_in_alertmanager(run: CommandLine, pages: Mapping[str, str]) -> None:
    with open_runtime(run.settings, silent).metadata() as connection:
        connection.execute(_BROKEN)

    def fired() -> list[dict[str, Any]]:
        alerts = ask(pages["alertmanager"], "api/v2/alerts") or []
        return [each for each in alerts if each["labels"]["alertname"] == "DqctlRunBroken"]

    (alert,) = within(180, fired)
    assert alert["labels"]["stack"] == STACK
    assert alert["labels"]["about"] == "operations"
    assert f"dqctl --stack {STACK} runs" in alert["annotations"]["description"]

    # Each group and each target has its turn within 15 s.
    def judged() -> bool:
        groups = ask(pages["prometheus"], "api/v1/rules")["data"]["groups"]
        return {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}

    def read() -> bool:
        targets = ask(pages["prometheus"], "api/v1/targets")["data"]["activeTargets"]
        return {each["labels"]["job"]: each["health"] for each in targets} == {"dqctl": "up", "prometheus": "up"}

    within(120, judged)
    within(120, read)


def test_they_may_do_no_more_than_they_have_to_and_are_reached_from_this_machine_only(run: CommandLine) -> None:
    found = containers(STACK)
    within(120, lambda: {containers(STACK)[name].health for name in BOTH} == {"healthy"})
    for name in BOTH:
        host = found[name].attrs["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert {each["HostIp"] for ports in host["PortBindings"].values() for each in ports} == {"127.0.0.1"}
        assert found[name].attrs["Config"]["User"] == "nobody"
        mounted = [each["Source"] for each in found[name].attrs["Mounts"] if each["Type"] == "bind"]
        assert mounted == [str(run.home / "stacks" / STACK / "mounted" / name)]
    checks = {each["id"]: each["verdict"] for each in run.document("doctor", code=None)["findings"]}
    assert [checks[each] for each in ("docker.monitoring", "docker.images", "docker.definition")] == ["ok"] * 3
    assert run("logs", "prometheus", "--lines", 1).out


def test_a_stack_is_well_without_them_and_install_brings_them_back(run: CommandLine) -> None:
    containers(STACK)["alertmanager"].stop(timeout=30)
    found = run.document("status")
    assert (found["healthy"], found["services"]["alertmanager"]) == (True, "exited")
    assert set(found["monitoring"]) == {"prometheus"}
    assert run.document("install")["changed"] == ["containers"]
    assert run.document("install")["changed"] == []
    assert set(run.document("status")["monitoring"]) == BOTH


def test_a_configuration_of_somebodys_own_reaches_alertmanager_alone(run: CommandLine) -> None:
    own = run.home / "alertmanager.yaml"
    own.write_text(yaml.safe_dump({"route": {"receiver": "mine"}, "receivers": [{"name": "mine"}]}))
    before = {name: each.id for name, each in containers(STACK).items()}
    run("install", "--alertmanager-config", own)
    after = {name: each.id for name, each in containers(STACK).items()}
    assert {name for name in after if after[name] != before[name]} == {"alertmanager"}
    page = run.document("status")["monitoring"]["alertmanager"]
    said = within(60, lambda: ask(page, "api/v2/receivers"))
    assert said == [{"name": "mine"}]


def test_a_configuration_with_a_mistake_is_refused_before_alertmanager_sees_it(run: CommandLine) -> None:
    own = run.home / "wrong.yaml"
    before = {name: each.id for name, each in containers(STACK).items()}
    for text, reason in (
        ("route: {receiver: mine}\nreceivers: [{name: other}]\n", 'undefined receiver "mine" used in route'),
        ("route: {receiver: mine, group_wait: hush-4711}\nreceivers: [{name: mine}]\n", "not a valid duration"),
        ("route: [\n", "yaml: "),
    ):
        own.write_text(text)
        refused = run("install", "--alertmanager-config", own, code=2).err
        assert "Alertmanager does not take the configuration" in refused
        assert reason in refused
    assert {name: each.id for name, each in containers(STACK).items()} == before
    assert run.document("install")["changed"] == []


def test_alerts_of_dqctl_reach_the_alertmanager_beside_the_stack_by_one_url_from_everywhere(
    run: CommandLine, pages: Mapping[str, str]
) -> None:
    file = run.home / "alerts.yaml"
    file.write_text(
        "version: 1\nalerts:\n  routes:\n    - {name: ops, alertmanager: {urls: 'http://alertmanager:9093'}}\n"
    )
    run("apply", "-f", file)

    def fired() -> set[str]:
        found = ask(pages["alertmanager"], "api/v2/alerts") or []
        return {each["labels"]["alertname"] for each in found}

    run("alerts", "test")
    assert "DqctlTestMessage" in fired()
    # The controller, for which that is the name of a container, tells it of the run that broke.
    with open_runtime(run.settings, silent).metadata() as connection:
        connection.execute(
            "INSERT INTO table_groups (id, project_code, table_groups_name)"
            " SELECT gen_random_uuid(), project_code, 'orders' FROM projects LIMIT 1"
        )
        connection.execute(_BROKEN)
        connection.execute(
            "UPDATE job_executions SET kwargs = jsonb_build_object('table_group_id', g.id) FROM table_groups g"
            " WHERE source = 'cli'"
        )
    within(180, lambda: "DataQualityRunFailed" in fired())


def test_a_port_that_is_taken_is_said_by_install_and_keeps_nobody_from_work(
    run: CommandLine, pages: Mapping[str, str]
) -> None:
    taken = pages["prometheus"].rstrip("/").rpartition(":")[2]
    refused = run("install", "--alertmanager-port", taken, code=3)
    assert "docker compose up failed" in refused.err
    assert taken in refused.err
    assert run.document("status")["healthy"]
    run("install", "--alertmanager-port", 0)
    assert set(run.document("status")["monitoring"]) == BOTH


def test_they_go_when_they_are_not_wanted_and_find_their_data_when_they_are(
    run: CommandLine, engine: docker.DockerClient
) -> None:
    assert "containers" in run.document("install", "--without", "monitoring")["changed"]
    assert not BOTH & set(containers(STACK))
    mounted = run.home / "stacks" / STACK / "mounted"
    assert {each.name for each in mounted.iterdir()} == {"engine", "postgres"}
    label = {"label": f"com.docker.compose.project=dqctl-{STACK}"}
    kept = {each.name for each in engine.volumes.list(filters=label)}
    assert kept == {f"dqctl-{STACK}_{name}" for name in (*BOTH, "metadata")}
    run("install", "--with", "monitoring")
    assert set(containers(STACK)) >= BOTH
    assert {each.name for each in engine.volumes.list(filters=label)} == kept
