"""The files of a Compose project, rendered: what they say, and that any path survives them."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from dqctl.errors import EnvironmentFault
from dqctl.runtime import compose
from dqctl.settings import load
from dqctl.stack.images import Image, Images, TestGenImage
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, ThrowAway
from dqctl.stack.secrets import ensure_secrets

AWKWARD = "# $HOME ${X} $$ 'a' \"b\" = \\ ü %s {{ y }}"
IMAGES = Images(
    engine=TestGenImage(
        reference="testgen:1",
        id=f"sha256:{'a' * 64}",
        version="5.134.0",
        schema_revision=235,
        python="/usr/bin/python3",
    ),
    postgres=Image(reference="postgres:16", id=f"sha256:{'b' * 64}", version="16.4"),
)


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    found = StackPaths(tmp_path / AWKWARD, "shop")
    found.root.mkdir(parents=True)
    ensure_secrets(found)
    compose.make_directories(found)
    return found


def rendered(paths: StackPaths, **settings: object) -> compose.Files:
    return compose.render_files(paths, load({"home": paths.home, "stack": "shop", **settings}, {}), IMAGES)


def definition(paths: StackPaths, **settings: object) -> dict:
    return yaml.safe_load(rendered(paths, **settings).content[paths.compose][0])


@pytest.mark.docker
def test_compose_itself_reads_back_what_was_meant(paths: StackPaths) -> None:
    rendered(paths, network="shared").write()
    done = subprocess.run(
        ["docker", "compose", "--file", paths.compose, "config", "--format", "json"],  # noqa: S607 - the user's own
        capture_output=True,
        text=True,
        timeout=60,
        cwd=paths.root,
    )
    assert done.returncode == 0, done.stderr
    # What it prints is a definition again, with every $ doubled.
    found = json.loads(done.stdout.replace("$$", "$"))
    services = found["services"]
    assert services["engine"]["volumes"][0]["source"] == str(paths.mounted / "engine")
    assert services["engine"]["networks"] == {"default": None, "joined": None}
    assert found["networks"]["joined"] == {"name": "shared", "external": True, "ipam": {}}


def test_no_service_may_do_more_than_it_has_to(paths: StackPaths) -> None:
    services = definition(paths)["services"]
    assert set(services) == {"postgres", "engine"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pull_policy"] == "never"
        assert {"healthcheck", "mem_limit", "pids_limit", "tmpfs"} <= set(service)
        assert "ports" not in service
        assert service["image"].startswith("sha256:")


def test_what_is_thrown_away_is_in_memory_and_bounded(paths: StackPaths) -> None:
    now = datetime.now(UTC)
    record = StackRecord(
        installed=False,
        runtime="docker",
        testgen_version="5.134.0",
        postgres_version="16.4",
        postgres_port=None,
        postgres_account=None,
        throw_away=ThrowAway(labels={"dqctl.ci": "shop"}),
        created=now,
        updated=now,
    )
    settings = load({"home": paths.home, "stack": "shop"}, {})
    found = yaml.safe_load(compose.render_files(paths, settings, IMAGES, record).content[paths.compose][0])
    assert "volumes" not in found
    postgres = found["services"]["postgres"]
    assert postgres["environment"]["PGDATA"].startswith("/tmp/")
    assert {each.partition(":")[0] for each in postgres["tmpfs"]} >= {"/tmp", "/var/lib/postgresql/data"}
    assert "max_wal_size=128MB" in postgres["command"]
    assert definition(paths)["services"]["postgres"]["environment"]["PGDATA"].startswith(
        "/var/lib/postgresql/data/"
    )


def test_a_port_is_published_on_loopback_when_it_is_asked_for(paths: StackPaths) -> None:
    assert definition(paths, publish_port=6543)["services"]["postgres"]["ports"] == ["127.0.0.1:6543:5432"]


def test_no_secret_is_in_the_definition_and_all_are_in_mounted_files(paths: StackPaths) -> None:
    files = rendered(paths).content
    secrets = {path.name: path.read_text().strip() for path in paths.secrets.iterdir()}
    assert not any(secret in files[paths.compose][0] for secret in secrets.values())
    configuration = files[paths.mounted / "engine" / "config.env"][0]
    assert f"TG_METADATA_DB_PASSWORD={secrets['postgres_password']}\n" in configuration
    assert "TG_METADATA_DB_HOST=postgres\n" in configuration
    assert files[paths.mounted / "postgres" / "postgres_password"][0].strip() == secrets["postgres_password"]


def test_every_variable_that_testgen_gets_has_its_reason(paths: StackPaths) -> None:
    lines = rendered(paths).content[paths.mounted / "engine" / "config.env"][0].splitlines()
    assert lines[0].startswith("#")
    for line in lines:
        assert line.startswith("#") or line.partition("=")[0].isupper(), line


def test_only_what_differs_is_written(paths: StackPaths) -> None:
    files = rendered(paths)
    assert set(files.differing()) == set(files.content)
    files.write()
    assert list(files.differing()) == []
    (paths.mounted / "engine" / "config.env").chmod(0o644)
    assert list(files.differing()) == [paths.mounted / "engine" / "config.env"]
    assert next(rendered(paths, memory="1g").differing()) == paths.compose
    assert paths.mounted.stat().st_mode & 0o777 == 0o700
    assert paths.compose.stat().st_mode & 0o777 == 0o600


def test_certificates_come_along_and_a_missing_file_is_said(paths: StackPaths, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        rendered(paths, ca_bundle=bundle)
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    assert (
        rendered(paths, ca_bundle=bundle).content[paths.mounted / "engine" / compose.CA_BUNDLE][0]
        == bundle.read_text()
    )


@pytest.mark.parametrize("wrong", [{"memory": "lots"}, {"network": "a b"}, {"publish_port": 0}])
def test_settings_that_would_break_the_definition_are_refused(paths: StackPaths, wrong: dict[str, object]) -> None:
    from dqctl.errors import UsageError

    with pytest.raises(UsageError):
        rendered(paths, **wrong)
