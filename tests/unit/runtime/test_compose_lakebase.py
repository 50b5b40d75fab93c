"""The files of a Compose project whose metadata is in Lakebase: no PostgreSQL, and who is taken for Lakebase."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dqctl.errors import EnvironmentFault
from dqctl.runtime import compose
from dqctl.settings import load
from dqctl.stack.images import Image, Images, TestGenImage
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import LakebaseRecord, StackRecord, write_record
from dqctl.stack.secrets import ensure_secrets

IMAGES = Images(
    engine=TestGenImage(
        reference="testgen:1",
        id=f"sha256:{'a' * 64}",
        version="5.134.0",
        schema_revision=235,
        python="/bin/python3",
    ),
    controller=Image(reference="dqctl/controller:1", id=f"sha256:{'c' * 64}", version="0.1.0"),
)
HOST = "ep-1.database.eu-west-1.cloud.databricks.com"


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    found = StackPaths(tmp_path, "lake")
    found.root.mkdir(parents=True)
    ensure_secrets(found)
    compose.make_directories(found)
    return found


def rendered(paths: StackPaths, host: str | None = HOST, **settings: object) -> compose.Files:
    authorities = paths.root / "authorities.pem"
    authorities.write_text("those that are trusted\n")
    now = datetime.now(UTC)
    lakebase = LakebaseRecord(project="lake", endpoint="projects/lake", host=host, port=5432, ca_file=authorities)
    record = StackRecord(
        installed=True, runtime="docker", testgen_version="5.134.0", postgres_version="of Lakebase",
        postgres_port=None, postgres_account=None, lakebase=lakebase, created=now, updated=now,
    )  # fmt: skip
    write_record(paths, record)
    return compose.render_files(paths, load({"home": paths.home, "stack": "lake", **settings}, {}), IMAGES)


def definition(paths: StackPaths, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(rendered(paths, **more).content[paths.compose][0])
    return found


def test_there_is_no_postgres_and_no_volume(paths: StackPaths) -> None:
    found = definition(paths)
    assert set(found["services"]) == {"engine"}
    assert "volumes" not in found
    assert "postgres" not in str(found).replace(str(paths.root), "")


def test_nobody_waits_for_a_postgres_that_is_not_there(paths: StackPaths) -> None:
    services = definition(paths, scheduler=True, controller=True)["services"]
    assert set(services) == {"engine", "scheduler", "controller"}
    assert "depends_on" not in services["scheduler"]
    assert services["controller"]["depends_on"] == {"engine": {"condition": "service_started"}}


def test_health_is_that_of_the_way_to_lakebase(paths: StackPaths) -> None:
    for service in definition(paths, controller=True)["services"].values():
        assert f'create_connection(("{HOST}", 5432), 3)' in service["healthcheck"]["test"][-1]


def test_testgen_verifies_by_a_copy_of_the_certificates(paths: StackPaths) -> None:
    files = rendered(paths).content
    text, _ = files[paths.mounted / "engine" / "config.env"]
    assert f"TG_METADATA_DB_HOST={HOST}\n" in text
    assert "TG_METADATA_DB_SSLMODE=verify-full\nTG_METADATA_DB_SSLROOTCERT=/run/dqctl/lakebase-ca.pem\n" in text
    assert files[paths.mounted / "engine" / "lakebase-ca.pem"] == ("those that are trusted\n", 0o444)
    assert not [path for path in files if path.parent.name == "postgres"]


def test_a_workspace_of_this_machine_is_reached_by_its_name_for_containers(paths: StackPaths) -> None:
    text, _ = rendered(paths, "127.0.0.1").content[paths.mounted / "engine" / "config.env"]
    assert "TG_METADATA_DB_HOST=host.docker.internal\n" in text


def test_an_install_that_ended_before_lakebase_was_known_says_so(paths: StackPaths) -> None:
    with pytest.raises(EnvironmentFault, match="not known where") as fault:
        rendered(paths, None)
    assert "dqctl install" in fault.value.hint
