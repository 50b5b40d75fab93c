"""A workspace as a container for somebody's tests: reached from here and from its network, and gone afterwards."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.network import Network

import docker
from command_line import CommandLine
from dqctl.errors import EnvironmentFault
from dqctl.services.ci.owner import Owner
from dqctl.stack.labels import EXPIRES, OWNER, STACK
from dqctl.testing import DatabricksContainer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def image(build_images: Callable[..., list[str]]) -> str:
    (tag,) = build_images("workspace")
    return tag


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    # Without the reaper, which testcontainers would start for a network, too.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testcontainers_config, "ryuk_disabled", True)
        with Network() as made:
            yield made
        made._docker.client.close()


@pytest.fixture(scope="module")
def containers(image: str, network: Network) -> Iterator[list[DatabricksContainer]]:
    """Two at once, one of them in a network."""
    both = [DatabricksContainer(image, network=network), DatabricksContainer(image, ttl=timedelta(minutes=30))]
    try:
        with ThreadPoolExecutor(2) as threads:
            yield list(threads.map(DatabricksContainer.start, both))
    finally:
        for each in both:
            each.stop()


def test_the_connector_and_the_sdk_are_connected_to_each_its_own(containers: list[DatabricksContainer]) -> None:
    for number, databricks in enumerate(containers):
        with databricks.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE main.default.own AS SELECT {number} AS n")
    for number, databricks in enumerate(containers):
        answer = databricks.workspace_client().statement_execution.execute_statement(
            "SELECT n FROM main.default.own", databricks.warehouse_id
        )
        assert answer.result
        assert answer.result.data_array == [[str(number)]]


def test_programs_that_know_databricks_only_reach_it_by_the_environment(
    containers: list[DatabricksContainer],
) -> None:
    program = "from databricks.sdk import WorkspaceClient; print(WorkspaceClient().current_user.me().user_name)"
    environment = containers[0].whole_environment()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.stdout.split() == ["owner@dqctl.invalid"], done.stderr


def test_containers_of_its_network_reach_it_by_the_name_in_its_certificate(
    containers: list[DatabricksContainer], image: str, network: Network
) -> None:
    program = (
        "import ssl, sys, urllib.request\n"
        "context = ssl.create_default_context(cadata=sys.stdin.read())\n"
        "try:\n"
        "    urllib.request.urlopen('https://local.dqctl.invalid/api/2.0/sql/warehouses', context=context)\n"
        "except urllib.error.HTTPError as refused:\n"
        "    print(refused.code)\n"
    )
    argv = ["docker", "run", "--rm", "-i", "--network", network.name, "--entrypoint", "/opt/dqctl/bin/python"]
    done = subprocess.run(
        [*argv, image, "-c", program],
        input=containers[0].ca_file.read_text(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.split() in (["401"], ["403"]), done.stderr


def test_it_is_marked_for_gc_and_listens_on_loopback_alone(
    containers: list[DatabricksContainer], engine: docker.DockerClient
) -> None:
    wrapped = engine.containers.get(containers[1].container.get_container_id())
    assert wrapped.labels[OWNER] == Owner.here().label
    assert {STACK, EXPIRES} <= set(wrapped.labels)
    bound = [each["HostIp"] for port in wrapped.attrs["NetworkSettings"]["Ports"].values() for each in port]
    assert bound == ["127.0.0.1", "127.0.0.1"]
    token = containers[1].token.get_secret_value()
    assert token not in str(wrapped.attrs)


def test_it_is_gone_when_it_ends_and_no_reaper_was_started(
    image: str, engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", False)
    with DatabricksContainer(image) as databricks:
        name, directory = databricks.label, databricks.ca_file.parent
    assert engine.containers.list(all=True, filters={"label": f"{STACK}={name}"}) == []
    assert not directory.exists()
    assert not [each for each in engine.containers.list(all=True) if "ryuk" in str(each.image.tags)]
    assert not testcontainers_config.ryuk_disabled, "it is the user's to say for other containers"


_KILLED = """
import os, signal, sys
from dqctl.testing import DatabricksContainer

print(DatabricksContainer(sys.argv[1]).start().label, flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_leaves_goes_with_gc_and_not_before(
    image: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    gc_of_anybody = CommandLine(tmp_path)

    def there(name: str) -> list[str]:
        found = engine.containers.list(all=True, filters={"label": f"{STACK}={name}"}, ignore_removed=True)
        return [each.name for each in found]

    argv = [sys.executable, "-c", _KILLED, image]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        name = process.stdout.readline().strip()
        (container,) = there(name)
        gc_of_anybody("ci", "gc")
        assert there(name) == [container], "its owner lives"
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    removed = gc_of_anybody.document("ci", "gc")["removed"]
    assert {"kind": "container", "name": container, "why": "its owner is dead"} in removed
    assert there(name) == []


def test_an_image_that_is_not_there_is_an_error_that_says_how_to_get_it() -> None:
    with pytest.raises(EnvironmentFault, match="there is no image") as caught:
        DatabricksContainer("dqctl/there-is-no-such-image:0").start()
    assert "scripts/images" in caught.value.hint


def test_one_that_does_not_come_up_is_an_error_with_its_last_words(image: str) -> None:
    databricks = DatabricksContainer(image, timeout=60)
    databricks.container.with_command(["-c", "echo the disk is full; exit 3"])
    with pytest.raises(EnvironmentFault, match="ended while it started") as caught:
        databricks.start()
    assert "the disk is full" in caught.value.hint


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_an_engine_the_error_names_the_class_that_needs_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EnvironmentFault, match="no Docker engine") as caught:
        DatabricksContainer()
    assert "LocalDatabricks" in caught.value.hint
    # The engine's SDK leaves the socket open that it could not connect (7.2): nobody else is to meet it.
    del caught
    gc.collect()
