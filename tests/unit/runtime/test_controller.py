"""The controller's place in a stack: what is rendered for it, and what it finds out about where it is."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.runtime import compose, controller, engine
from dqctl.services.install_docker import CONTROLLER, check_controller, controller_reference
from dqctl.settings import Settings, load
from dqctl.stack.images import Image, Images, TestGenImage
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import ensure_secrets

AWKWARD = "# $HOME ${X} $$ 'a' \"b\" = \\ ü %s {{ y }}"
IMAGES = Images(
    engine=TestGenImage(
        reference="testgen:1", id=f"sha256:{'a' * 64}", version="5.134.0", schema_revision=235, python="/python"
    ),
    postgres=Image(reference="postgres:16", id=f"sha256:{'b' * 64}", version="16.4"),
    controller=Image(reference="dqctl/controller:1", id=f"sha256:{'c' * 64}", version="1"),
)


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    found = StackPaths(tmp_path / AWKWARD, "shop")
    found.root.mkdir(parents=True)
    ensure_secrets(found)
    compose.make_directories(found)
    return found


@pytest.fixture
def socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket where the engine's is said to be."""
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield path


def settings(paths: StackPaths, **given: object) -> Settings:
    return load({"home": paths.home, "stack": "shop", **given}, {})


def services(paths: StackPaths, images: Images = IMAGES, **given: object) -> dict:
    files = compose.render_files(paths, settings(paths, **given), images)
    found: dict = yaml.safe_load(files.content[paths.compose][0])["services"]
    return found


def mounts(service: dict) -> dict[str, str]:
    return {each["target"]: each["source"].replace("$$", "$") for each in service["volumes"]}


def test_there_is_no_controller_unless_it_is_asked_for(paths: StackPaths) -> None:
    assert "controller" not in services(paths)
    assert controller_reference(settings(paths)) is None
    assert controller_reference(settings(paths, controller=True)) == CONTROLLER
    assert controller_reference(settings(paths, controller=True, controller_image="x/y:1")) == "x/y:1"


def test_a_controller_is_started_by_name_only_and_may_do_no_more_than_it_has_to(paths: StackPaths) -> None:
    found = services(paths, controller=True)["controller"]
    assert found["profiles"] == ["controller"]
    assert found["restart"] == "no"
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["pull_policy"] == "never"
    assert found["image"] == IMAGES.controller.id
    assert {"healthcheck", "mem_limit", "pids_limit", "tmpfs"} <= set(found)
    assert not {"ports", "group_add", "networks"} & set(found)
    assert mounts(found) == {str(paths.root).replace("$", "$$"): str(paths.root)}


def test_one_that_runs_all_the_time_is_a_service_like_the_others(paths: StackPaths) -> None:
    found = services(paths, controller=True, controller_run=True)["controller"]
    assert "profiles" not in found
    assert found["restart"] == "unless-stopped"
    assert found["command"] == ["controller", "run", "--listen", f"0.0.0.0:{controller.PORT}"]
    assert f"http://127.0.0.1:{controller.PORT}/healthz" in found["healthcheck"]["test"][-1]
    assert found["depends_on"]["postgres"] == {"condition": "service_started"}  # it waits by itself
    assert "ports" not in found
    with pytest.raises(UsageError, match="none is wanted"):
        check_controller(settings(paths, controller_run=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_controller_runs_as_the_owner_of_the_stack(paths: StackPaths) -> None:
    os.chown(paths.root, 4321, 1234)
    assert services(paths, controller=True)["controller"]["user"] == "4321:1234"


def test_the_socket_and_its_group_come_only_when_they_are_asked_for(paths: StackPaths, socket_path: Path) -> None:
    assert str(controller.SOCKET) not in mounts(services(paths, controller=True)["controller"])
    found = services(paths, controller=True, controller_socket=True)
    assert [name for name, each in found.items() if str(socket_path) in str(each)] == ["controller"]
    assert mounts(found["controller"])[str(controller.SOCKET)] == str(socket_path)
    assert found["controller"]["group_add"] == [str(socket_path.stat().st_gid)]


def test_an_engine_without_a_socket_here_cannot_be_given_to_a_controller(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("tcp://engine:2376", "unix:///nowhere.sock"):
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(EnvironmentFault, match="no socket"):
            services(paths, controller=True, controller_socket=True)


def test_credentials_are_a_file_and_a_client_id_says_of_which_kind(paths: StackPaths, tmp_path: Path) -> None:
    credential = tmp_path / "credential"
    given = {"controller": True, "controller_credential": credential}
    token = services(paths, **given)["controller"]
    assert token["environment"]["DATABRICKS_TOKEN_FILE"] == "/run/dqctl/credential"
    assert mounts(token)["/run/dqctl/credential"] == str(credential)
    principal = services(paths, **given, databricks_client_id="me")["controller"]["environment"]
    assert principal["DATABRICKS_CLIENT_SECRET_FILE"] == "/run/dqctl/credential"
    assert principal["DATABRICKS_CLIENT_ID"] == "me"
    assert "DATABRICKS_TOKEN_FILE" not in principal


def test_a_controller_finds_the_users_settings_and_trusts_what_testgen_trusts(
    paths: StackPaths, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    (paths.home / "settings.toml").write_text('catalog = "dev"\n')
    found = services(paths, controller=True, ca_bundle=bundle)["controller"]
    copied = str(paths.mounted / "engine" / compose.CA_BUNDLE)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "DQCTL_CA_BUNDLE"):
        assert found["environment"][name].replace("$$", "$") == copied
    assert str(paths.home / "settings.toml") in mounts(found).values()


def test_what_a_controller_finds_is_what_install_was_told(paths: StackPaths) -> None:
    environment = services(paths, controller=True)["controller"]["environment"]
    found = load({}, {name: value.replace("$$", "$") for name, value in environment.items()})
    assert (found.home, found.stack) == (paths.home, "shop")


@pytest.mark.docker
def test_compose_reads_the_controller_back_as_it_was_meant(paths: StackPaths) -> None:
    compose.render_files(paths, settings(paths, controller=True), IMAGES).write()
    argv = [
        "docker",
        "compose",
        "--file",
        str(paths.compose),
        "--profile",
        "controller",
        "config",
        "--format",
        "json",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=paths.root)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.replace("$$", "$"))["services"]["controller"]
    assert [(each["source"], each["target"]) for each in found["volumes"]] == [(str(paths.root), str(paths.root))]
    assert found["environment"]["DQCTL_HOME"] == str(paths.home)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQCTL_INSIDE", "dqctl-shop")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    engine.client.cache_clear()


def test_on_the_host_nothing_is_refused() -> None:
    assert not controller.is_here()
    assert controller.has_engine()
    controller.require_host("dqctl install")


def test_in_a_controller_an_install_is_sent_to_the_host(inside: None, tmp_path: Path) -> None:
    from dqctl.progress import silent
    from dqctl.services.install import install
    from dqctl.services.uninstall import uninstall

    found = load({"home": tmp_path / "home"}, {})
    with pytest.raises(EnvironmentFault, match="not for the controller"):
        install(found, runtime="docker", progress=silent)
    with pytest.raises(EnvironmentFault, match="not for the controller"):
        uninstall(found, purge=True, progress=silent)
    assert not (tmp_path / "home").exists()


def test_a_container_that_does_not_run_has_no_address() -> None:
    assert controller.address_of("dqctl-none.invalid") is None
    assert controller.address_of("localhost") == "127.0.0.1"


@pytest.mark.parametrize(
    "given", [{"controller_socket": True}, {"controller": True, "controller_credential": "/no"}]
)
def test_settings_that_no_controller_could_work_with_are_refused_before_anything_is_done(
    tmp_path: Path, given: dict[str, object]
) -> None:
    from dqctl.services.install_docker import check_controller

    with pytest.raises(UsageError):
        check_controller(load({"home": tmp_path, **given}, {}))


def test_a_profile_is_mounted_as_the_file_that_it_is_in(
    paths: StackPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "profiles"
    file.write_text("[lab]\nhost = lab.example.com\nazure_client_secret = planted-4711\n")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    given = {"controller": True, "databricks_config_profile": "lab"}
    check_controller(settings(paths, **given))
    rendered = compose.render_files(paths, settings(paths, **given), IMAGES)
    found = yaml.safe_load(rendered.content[paths.compose][0])["services"]["controller"]
    assert mounts(found)["/run/dqctl/databrickscfg"] == str(file)
    assert all(each.get("read_only") for each in found["volumes"] if each["source"] == str(file))
    assert found["environment"]["DATABRICKS_CONFIG_PROFILE"] == "lab"
    assert found["environment"]["DATABRICKS_CONFIG_FILE"] == "/run/dqctl/databrickscfg"
    assert not any("planted-4711" in text for text, _ in rendered.content.values())
    with pytest.raises(UsageError, match="has no profile nobody"):
        check_controller(settings(paths, controller=True, databricks_config_profile="nobody"))


def test_azure_reaches_it_but_for_the_secret(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARM_CLIENT_ID", "4711")
    monkeypatch.setenv("ARM_TENANT_ID", "0815")
    given = settings(paths, controller=True)
    check_controller(given)
    found = services(paths, controller=True)["controller"]["environment"]
    assert (found["ARM_CLIENT_ID"], found["ARM_TENANT_ID"]) == ("4711", "0815")
    monkeypatch.setenv("ARM_CLIENT_SECRET", "planted-4711")
    with pytest.raises(UsageError, match="ARM_CLIENT_SECRET does not reach a controller") as raised:
        check_controller(given)
    assert "azure_client_secret" in raised.value.hint
    assert "planted-4711" not in str(services(paths, controller=True))
    check_controller(settings(paths))  # where no controller is wanted, it is nobody's business
