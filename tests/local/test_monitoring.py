"""What ships for Prometheus and Grafana, tried with the real programs: rules, configuration, every expression."""

import dataclasses
import json
import random
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from dqctl.progress import silent
from dqctl.report.metrics import exposition
from dqctl.runtime import open_runtime
from dqctl.runtime.monitoring import shipped
from dqctl.services.metrics import measure
from dqctl.settings import Settings
from measured import everything, of_controller
from tiers import unavailable

pytestmark = pytest.mark.local

SHIPPED = Path(__file__).parents[2] / "compose" / "monitoring"
NAME = re.compile(r"\bdqctl_\w+")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(shipped("rules.yaml"))["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads(shipped("dashboard.json"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def program(name: str, package: str) -> str:
    """The path of one of Debian's programs."""
    found = shutil.which(name)
    if found is None:
        unavailable("local", f"there is no {name}: apt-get install {package}")
    assert found
    return found


def said(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=120, cwd=SHIPPED)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def metric_names(text: str) -> set[str]:
    return set(re.findall(r"^# TYPE (dqctl_\w+)", text, re.MULTILINE))


def expressions() -> Iterator[tuple[str, str]]:
    """All that is asked of Prometheus, by where it stands; what Grafana puts in its variables' place in it."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            found = target["expr"]
            for variable in DASHBOARD["templating"]["list"]:
                found = found.replace(f"${variable['name']}", ".*")
            yield f"{panel['title']} {target['refId']}", found


# --- what ships ------------------------------------------------------------------------------------------------


def test_prometheus_own_tool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    promtool = program("promtool", "prometheus")
    assert f"SUCCESS: {len(RULES)} rules found" in said(promtool, "check", "rules", "rules.yaml")
    assert "SUCCESS" in said(promtool, "check", "config", "prometheus.yaml")
    said(program("amtool", "prometheus-alertmanager"), "check-config", "alertmanager.yaml")


def test_each_alert_fires_when_it_should_and_ends() -> None:
    tests = ("rules_test.yaml", "rules_days_test.yaml")
    said(program("promtool", "prometheus"), "test", "rules", *tests)
    tested = "".join(shipped(name) for name in tests)
    assert {rule["alert"] for rule in RULES} == set(re.findall(r'alertname="(Dqctl\w+)"', tested))


def test_the_numbers_are_as_prometheus_wants_them() -> None:
    for text in (exposition(everything()), of_controller()):
        assert said(program("promtool", "prometheus"), "check", "metrics", stdin=text) == ""


def test_what_rules_and_panels_ask_for_is_served_and_what_is_served_is_shown() -> None:
    # What the controller's process takes is of the machine, and every program serves it.
    served = {
        name
        for name in metric_names(exposition(everything()) + of_controller())
        if not name.startswith("dqctl_controller_process_")
    }
    asked = {name for _, expression in expressions() for name in NAME.findall(expression)}
    assert asked == served


def test_rules_know_no_job_and_no_instance_and_each_says_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert not re.search(r"\b(job|instance)\b", rule["expr"]), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["labels"]["about"] in ("operations", "data")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "dqctl" in rule["annotations"]["description"], rule["alert"]


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "stack", "system"]
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["description"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells


def test_grafana_finds_its_files_where_they_are_mounted() -> None:
    (source,) = yaml.safe_load(shipped("grafana-datasource.yaml"))["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load(shipped("grafana-dashboards.yaml"))["providers"]
    assert provider["options"]["path"] == "/run/dqctl/dashboards"


# --- a Prometheus that reads them ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Prometheus:
    """A server that runs, and what it is asked over HTTP."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        address = f"{self.url}/api/v1/{path}?{query}"
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - it is http
            return json.load(answer)["data"]

    def series(self, expression: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self.ask("query", query=expression)["result"]
        return found


def serve(pages: Mapping[str, str]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[self.path].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


class Server:
    """A Prometheus of the configuration in ``directory``, from its start on."""

    def __init__(self, binary: str, directory: Path) -> None:
        # All of 127/8 is this machine: nobody else takes this address and port between a look and the start.
        host = ".".join(["127", *(str(random.SystemRandom().randint(1, 254)) for _ in range(3))])
        self.address = f"{host}:{random.SystemRandom().randint(20000, 32000)}"
        self.log = directory / "log"
        argv = [
            binary, f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={self.address}", "--log.level=error",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture(scope="module")
def prometheus(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that scrapes a real stack, and another one of which everything is known."""
    binary = program("prometheus", "prometheus")
    open_runtime(installed_stack, silent)
    server = serve(
        {"/real": exposition(measure(installed_stack)), "/full": exposition(everything()) + of_controller()}
    )
    directory = tmp_path_factory.mktemp("prometheus")
    configuration = yaml.safe_load(shipped("prometheus.yaml"))
    del configuration["alerting"]
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"] = [
        {
            "job_name": page,
            "metrics_path": f"/{page}",
            "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}],
        }
        for page in ("real", "full")
    ]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    (directory / "rules.yaml").write_text(shipped("rules.yaml"))
    process = Server(binary, directory)
    try:
        found = Prometheus(f"http://{process.address}")
        deadline = time.monotonic() + 120
        while not _has_scraped(found):
            assert process.is_running, process.log.read_text()
            assert time.monotonic() < deadline, process.log.read_text()
            time.sleep(0.2)
        yield found
    finally:
        process.stop()
        server.shutdown()
        server.server_close()


def _has_scraped(found: Prometheus) -> bool:
    """Whether both stacks were read twice, and an alert was raised."""
    try:
        read = found.series("count_over_time(dqctl_up[10m]) >= 2")
        return len(read) == 2 and bool(found.series('ALERTS{alertname="DqctlTestsFailed"}'))
    except OSError:
        return False


def test_every_expression_of_every_rule_and_panel_means_something_to_prometheus(prometheus: Prometheus) -> None:
    # These are about what is not there.
    absent = {"DqctlMetricsMissing", "DqctlStackMetricsGone", "DqctlStackDown", "DqctlNothingKept"}
    # And these about what is well in this stack.
    well = {
        "DqctlMetricsStale", "DqctlNoControllerLeads", "DqctlControllerNotReady", "DqctlControllerErrors",
    }  # fmt: skip
    silent_ones = {where for where, expression in expressions() if not prometheus.series(expression)}
    assert silent_ones == (absent - {"DqctlNothingKept"}) | well


def test_a_real_stack_has_a_line_in_the_panels_of_stacks(prometheus: Prometheus) -> None:
    for title in ("Stacks", "Numbers read", "Runs in progress", "Versions"):
        (panel,) = (each for each in PANELS if each["title"] == title)
        expression = panel["targets"][0]["expr"].replace("$stack", "default").replace("$system", ".*")
        assert prometheus.series(expression), title
    (up,) = prometheus.series('dqctl_up{stack="default"}')
    assert up["value"][1] == "1"


def test_what_an_alert_says_is_filled_in(prometheus: Prometheus) -> None:
    # Of three groups, which are judged one after the other.
    wanted = {"DqctlRunBroken", "DqctlTestsFailed", "DqctlBackupOld"}
    deadline = time.monotonic() + 120
    while True:
        alerts = prometheus.ask("alerts")["alerts"]
        if wanted <= {each["labels"]["alertname"] for each in alerts}:
            break
        assert time.monotonic() < deadline, alerts
        time.sleep(0.2)
    for alert in alerts:
        for text in alert["annotations"].values():
            assert "<error" not in text, text
            assert "<no value>" not in text, text
            assert "{{" not in text, text
    (broken,) = (each for each in alerts if each["labels"]["alertname"] == "DqctlRunBroken")
    assert broken["annotations"]["summary"] == (
        "The last test run of shop, tables, night was not completed (stack full)"
    )
