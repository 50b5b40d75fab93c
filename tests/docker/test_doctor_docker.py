"""A stack in containers is broken in every way that doctor knows; and its logs and its archive."""

import json
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import CommandLine
from container_stacks import container_stack, containers
from dqctl.runtime import compose
from dqctl.runtime.engine import PROJECT_LABEL, client
from dqctl.services.doctor import Finding, Verdict, examine
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import LENGTHS

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

STACK = "doctor"


@pytest.fixture(scope="module")
def run(images: object) -> Iterator[CommandLine]:
    with container_stack(STACK) as run:
        run("install", timeout=400)
        yield run


@pytest.fixture(autouse=True)
def _well_again(run: CommandLine) -> Iterator[None]:
    yield
    run("install")


def findings(run: CommandLine) -> dict[str, Finding]:
    return {each.id: each for each in examine(run.settings).findings}


def failed(run: CommandLine) -> dict[str, Finding]:
    return {name: each for name, each in findings(run).items() if each.verdict is Verdict.FAILED}


def the_failure(run: CommandLine, name: str) -> Finding:
    found = failed(run)
    assert list(found) == [name], [(each.id, each.evidence) for each in found.values()]
    return found[name]


def test_nothing_fails_in_a_stack_that_is_well(run: CommandLine) -> None:
    found = findings(run)
    assert [each for each in found.values() if each.verdict is Verdict.FAILED] == []
    for name in ("docker.compose", "docker.engine", "docker.disk", "docker.images", "docker.definition"):
        assert found[name].verdict is Verdict.OK, found[name]
    assert "running" in found["docker.testgen"].evidence
    assert found["metadata.revision"].verdict is Verdict.OK
    assert found["docker.leftovers"].verdict is not Verdict.FAILED


def test_it_ends_in_time(run: CommandLine) -> None:
    began = time.monotonic()
    run("doctor")
    assert time.monotonic() - began < 20  # a crowded machine; the benchmark measures


@pytest.mark.parametrize("service", ["postgres", "engine"])
def test_a_stopped_container_is_named_and_started_by_the_fix(run: CommandLine, service: str) -> None:
    containers(STACK)[service].stop(timeout=5)
    failure = the_failure(run, "docker.postgres" if service == "postgres" else "docker.testgen")
    assert "is exited, exit code" in failure.evidence
    assert "metadata.reachable" not in failed(run)
    run(*failure.fix.partition(";")[0].split()[3:])
    assert failed(run) == {}


def test_a_paused_container_is_told_apart_from_a_dead_one(run: CommandLine) -> None:
    containers(STACK)["postgres"].pause()
    failure = the_failure(run, "docker.postgres")
    assert failure.fix == f"docker unpause dqctl-{STACK}-postgres-1"


def test_a_container_that_is_gone_is_told(run: CommandLine) -> None:
    containers(STACK)["engine"].remove(force=True, v=True)
    assert the_failure(run, "docker.testgen").evidence == "there is no container of engine"


def test_another_image_than_the_pinned_one_is_told(run: CommandLine) -> None:
    paths = StackPaths(run.home, STACK)
    pinned = json.loads(paths.images.read_text())
    wrong = {**pinned, "postgres": {**pinned["postgres"], "id": f"sha256:{'0' * 64}"}}
    paths.images.write_text(json.dumps(wrong))
    found = failed(run)
    paths.images.write_text(json.dumps(pinned))
    assert list(found) == ["docker.images"]
    assert "pinned is" in found["docker.images"].evidence
    assert "000000000000" in found["docker.images"].evidence


def test_a_definition_that_somebody_changed_is_told(run: CommandLine) -> None:
    definition = StackPaths(run.home, STACK).compose
    definition.write_text(definition.read_text().replace("max_connections=60", "max_connections=70"))
    found = findings(run)["docker.definition"]
    assert found.verdict is Verdict.WARNING
    assert "compose.yaml" in found.evidence


def test_a_directory_that_lets_others_in_is_told(run: CommandLine) -> None:
    mounted = StackPaths(run.home, STACK).mounted
    mounted.chmod(0o755)
    failure = the_failure(run, "secrets.permissions")
    assert f"{mounted} is 0755" in failure.evidence
    mounted.chmod(0o700)


def test_what_no_stack_knows_is_told(run: CommandLine) -> None:
    name = f"dqctl-nobody{os.getpid()}"
    network = client().networks.create(f"{name}_default", labels={PROJECT_LABEL: name})
    volume = client().volumes.create(f"{name}_metadata", labels={PROJECT_LABEL: name})
    try:
        found = findings(run)["docker.leftovers"]
        assert found.verdict is Verdict.WARNING
        assert f"network {name}_default" in found.evidence
        assert f"volume {name}_metadata" in found.evidence
    finally:
        network.remove()
        volume.remove()
    assert name not in findings(run)["docker.leftovers"].evidence


@pytest.mark.parametrize(
    ("host", "check"),
    [("unix:///nonexistent/docker.sock", "docker.socket"), ("tcp://127.0.0.1:9", "docker.engine")],
)
def test_an_engine_that_does_not_answer_is_told_in_time(run: CommandLine, host: str, check: str) -> None:
    away = CommandLine(run.home, {**run.environment, "DOCKER_HOST": host})
    began = time.monotonic()
    document = away.document("doctor", code=3)
    assert time.monotonic() - began < 20
    found = {each["id"]: each for each in document["findings"]}
    assert [name for name, each in found.items() if each["verdict"] == "failed"] == [check]
    assert "systemctl start docker" in found[check]["fix"]


def test_before_an_install_the_engine_is_looked_at(run: CommandLine, tmp_path: Path) -> None:
    document = CommandLine(tmp_path)("--output", "json", "doctor", "--runtime", "docker").document
    found = {each["id"]: each["verdict"] for each in document["findings"]}
    assert found["docker.engine"] == "ok"
    assert "docker.testgen" not in found
    assert "postgres.port" not in found


def test_logs_come_from_containers_and_files(run: CommandLine) -> None:
    lines = run.document("logs")["lines"]
    assert {"testgen", "postgres"} <= {each["source"] for each in lines}
    assert any("ready to accept connections" in each["text"] for each in lines)
    times = [each["at"] for each in lines if each["at"]]
    assert times == sorted(times)
    assert run("logs", "--lines", "1", "postgres").out.count("\n") == 1


def test_follow_goes_on_over_a_restart(run: CommandLine) -> None:
    process = run.start("logs", "--lines", "0", "--follow", "postgres")
    end = time.monotonic() + 90
    heard = False
    while not heard and time.monotonic() < end:  # nobody says when it has begun to follow
        containers(STACK)["postgres"].restart(timeout=10)
        heard = process.hear("database system is ready to accept connections", 5, stdout=True)
    assert heard
    process.signal(2)
    said = process.end(30)
    assert said.code == 130
    assert said.out.count("database system is ready to accept connections") == 1


def test_the_archive_has_the_containers_and_no_secret(run: CommandLine, tmp_path: Path) -> None:
    archive = tmp_path / "support.tar.gz"
    run("doctor", "--bundle", archive)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    texts = {path.name: path.read_text() for path in (tmp_path / "unpacked").rglob("*") if path.is_file()}
    project = compose.project(StackPaths(run.home, STACK))
    assert {f"container-{project}-engine-1.json", "postgres.log", "compose.yaml", "info.json"} <= set(texts)
    assert "TG_METADATA_DB_HOST=postgres" in texts["config.env"]
    secrets = [(StackPaths(run.home, STACK).secrets / name).read_text().strip() for name in LENGTHS]
    assert [name for name, text in texts.items() for secret in secrets if secret in text] == []
