"""What watches a stack, in its Compose definition: only where it is wanted, and shut in as the others are."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dqctl.cli.app import app
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.report.metrics import exposition
from dqctl.runtime import compose, monitoring
from dqctl.services.install import require_possible
from dqctl.services.install_docker import MONITORING, monitoring_references
from dqctl.settings import Settings, load
from dqctl.stack.images import Image, Images, TestGenImage
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import ensure_secret, ensure_secrets
from measured import everything, of_controller

AWKWARD = "# $HOME ${X} $$ 'a' \"b\" = \\ ü %s {{ y }}"
IMAGES = Images(
    engine=TestGenImage(
        reference="testgen:1", id=f"sha256:{'a' * 64}", version="5.134.0", schema_revision=235, python="/python"
    ),
    postgres=Image(reference="postgres:16", id=f"sha256:{'b' * 64}", version="16.4"),
    controller=Image(reference="dqctl/controller:1", id=f"sha256:{'c' * 64}", version="1"),
)
WATCHED = IMAGES.model_copy(
    update={
        "monitoring": {
            name: Image(reference=f"{name}:1", id=f"sha256:{letter * 64}", version="1")
            for name, letter in zip(monitoring.SERVICES, "def", strict=True)
        }
    }
)
PORTS = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    found = StackPaths(tmp_path / AWKWARD, "shop")
    found.root.mkdir(parents=True)
    ensure_secrets(found)
    ensure_secret(found, monitoring.GRAFANA_PASSWORD)
    compose.make_directories(found)
    monitoring.make_directories(found, WATCHED)
    return found


def settings(paths: StackPaths, **given: object) -> Settings:
    return load({"home": paths.home, "stack": "shop", "monitoring": True, **given}, {})


def rendered(paths: StackPaths, images: Images = WATCHED, **given: object) -> compose.Files:
    return compose.render_files(paths, settings(paths, **given), images)


def definition(paths: StackPaths, images: Images = WATCHED, **given: object) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(rendered(paths, images, **given).content[paths.compose][0])
    return found


def test_nothing_watches_a_stack_unless_it_is_asked_for(paths: StackPaths) -> None:
    found = definition(paths, IMAGES, monitoring=False)
    assert not set(monitoring.SERVICES) & set(found["services"])
    assert list(found["volumes"]) == ["metadata"]
    assert not any("grafana" in str(path) for path in rendered(paths, IMAGES, monitoring=False).content)
    assert monitoring_references(settings(paths, monitoring=False)) == {}


def test_who_wants_it_watched_wants_the_controller_that_is_watched(paths: StackPaths) -> None:
    assert settings(paths).controller
    assert settings(paths, controller=False).controller
    assert not settings(paths, monitoring=False).controller
    assert "controller" in definition(paths)["services"]


def test_each_is_shut_in_and_reached_from_this_machine_only(paths: StackPaths) -> None:
    found = definition(paths)
    for name, port in PORTS.items():
        service = found["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pull_policy"] == "never"
        assert service["restart"] == "unless-stopped"
        assert service["image"] == WATCHED.monitoring[name].id
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert {"healthcheck", "mem_limit", "pids_limit", "tmpfs", "logging"} <= set(service)
        volume, bind = service["volumes"]
        assert volume.partition(":")[0] == name
        assert bind["source"].replace("$$", "$") == str(paths.mounted / name)
        assert bind["read_only"] is True
        assert found["volumes"][name]["labels"]["dqctl.root"].replace("$$", "$") == str(paths.root)


def test_ports_are_set_or_left_to_the_engine(paths: StackPaths) -> None:
    found = definition(paths, prometheus_port=19090, alertmanager_port=0)["services"]
    assert found["prometheus"]["ports"] == ["127.0.0.1:19090:9090"]
    assert "--web.external-url=http://127.0.0.1:19090/" in found["prometheus"]["command"]
    assert found["alertmanager"]["ports"] == ["127.0.0.1::9093"]
    assert "external-url" not in str(found["alertmanager"]["command"])


@pytest.mark.docker
def test_compose_reads_back_what_was_meant(paths: StackPaths) -> None:
    rendered(paths).write()
    done = subprocess.run(
        ["docker", "compose", "--file", paths.compose, "config", "--format", "json"],  # noqa: S607 - the user's own
        capture_output=True,
        text=True,
        timeout=60,
        cwd=paths.root,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout.replace("$$", "$"))["services"]
    for name, port in PORTS.items():
        (published,) = services[name]["ports"]
        found = (published["host_ip"], published["target"], published["published"])
        assert found == ("127.0.0.1", port, str(port))
        assert services[name]["volumes"][1]["source"] == str(paths.mounted / name)


def test_grafanas_password_is_in_a_file_of_its_own_container_alone(paths: StackPaths) -> None:
    password = (paths.secrets / monitoring.GRAFANA_PASSWORD).read_text().strip()
    assert len(password) == 32
    content = rendered(paths).content
    assert [path for path, (text, _) in content.items() if password in text] == [
        paths.mounted / "grafana" / "admin_password"
    ]
    environment = definition(paths)["services"]["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/dqctl/admin_password"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment


def test_every_file_has_a_place_and_another_one_makes_another_container(paths: StackPaths, tmp_path: Path) -> None:
    files = rendered(paths)
    files.write()
    assert list(files.differing()) == []
    own = tmp_path / "own.yaml"
    own.write_text("route: {receiver: me}\nreceivers: [{name: me}]\n")
    before, after = definition(paths)["services"], definition(paths, alertmanager_config=own)["services"]
    assert [name for name in after if after[name] != before[name]] == ["alertmanager"]
    other = rendered(paths, alertmanager_config=own)
    assert other.content[paths.mounted / "alertmanager" / "alertmanager.yaml"][0] == own.read_text()
    own.unlink()
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        rendered(paths, alertmanager_config=own)


def test_what_is_not_wanted_any_more_leaves_no_files(paths: StackPaths) -> None:
    rendered(paths).write()
    fewer = WATCHED.model_copy(update={"monitoring": {"prometheus": WATCHED.monitoring["prometheus"]}})
    monitoring.remove_unused(paths, fewer)
    assert {each.name for each in paths.mounted.iterdir()} == {"engine", "postgres", "prometheus"}
    monitoring.remove_unused(paths, IMAGES)
    assert {each.name for each in paths.mounted.iterdir()} == {"engine", "postgres"}


def test_images_are_the_stock_ones_a_mirrors_or_those_that_are_named(paths: StackPaths) -> None:
    assert monitoring_references(settings(paths)) == MONITORING
    mirrored = monitoring_references(settings(paths, registry="mirror.example/", grafana_image="none"))
    assert mirrored == {name: f"mirror.example/{MONITORING[name]}" for name in ("prometheus", "alertmanager")}
    assert monitoring_references(settings(paths, prometheus_image="mine:1"))["prometheus"] == "mine:1"


def test_a_runtime_without_containers_is_not_watched_by_some(paths: StackPaths) -> None:
    with pytest.raises(UsageError, match="no containers"):
        require_possible(settings(paths), "local")
    require_possible(settings(paths), "docker")


def test_commands_that_alerts_name_exist() -> None:
    root: Any = typer.main.get_command(app)
    groups = yaml.safe_load(monitoring.shipped("rules.yaml"))["groups"]
    named = set()
    for rule in (rule for group in groups for rule in group["rules"]):
        said = rule["annotations"]["description"]
        for words in re.findall(r"\bdqctl (?:--stack \{\{ \$labels\.stack \}\} )?([a-z]+(?: [a-z-]+)?)", said):
            first, _, second = words.partition(" ")
            command = root.commands[first]
            if hasattr(command, "commands"):
                assert second in command.commands, (rule["alert"], words)
            named.add(first)
    assert {"doctor", "publish", "state", "backup", "schedule", "logs", "runs", "report"} <= named


def rows(section: str) -> list[list[str]]:
    """The cells of the rows of a table in docs/monitoring.md."""
    text = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    lines = text.partition(f"## {section}\n")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("| `")]


def test_the_documentation_tells_every_number_as_it_is_served() -> None:
    about = {"kind", "system", "table_group", "suite"}
    served = {}
    for family in text_string_to_metric_families(exposition(everything()) + of_controller()):
        if family.name.startswith("dqctl_controller_process_"):
            continue
        (name,) = {sample.name for sample in family.samples}
        labels = {label for sample in family.samples for label in sample.labels} - {"stack"}
        labels = {"<about>", *(labels - about)} if about <= labels else labels
        served[name] = (labels, family.documentation)
    told = {name: (set(re.findall(r"`(.+?)`", labels)), text) for name, labels, text in rows("The numbers")}
    assert {name.strip("`"): found for name, found in told.items()} == served


def test_the_documentation_tells_every_alert() -> None:
    groups = yaml.safe_load(monitoring.shipped("rules.yaml"))["groups"]
    rules = {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    assert {name.strip("`"): severity for name, severity, _ in rows("Alert rules")} == rules


def test_the_documentation_tells_the_images_and_ports() -> None:
    cells = rows("Beside a stack in containers")
    told = {name.strip("`"): (image.strip("`"), page) for name, image, page in cells}
    assert {name: image for name, (image, _) in told.items()} == MONITORING
    for name, port in PORTS.items():
        assert f"127.0.0.1:{port}" in told[name][1]
        assert Settings.model_fields[f"{name}_port"].default == port
