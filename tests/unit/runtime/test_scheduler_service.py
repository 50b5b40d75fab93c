"""The scheduler's service in the Compose definition."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dqctl.runtime import compose, launch
from dqctl.settings import load
from dqctl.stack.images import Image, Images, TestGenImage
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import ensure_secrets

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
    found = StackPaths(tmp_path / "with $HOME", "shop")
    found.root.mkdir(parents=True)
    ensure_secrets(found)
    compose.make_directories(found)
    return found


def rendered(paths: StackPaths, **settings: object) -> compose.Files:
    return compose.render_files(paths, load({"home": paths.home, "stack": "shop", **settings}, {}), IMAGES)


def services(paths: StackPaths, **settings: object) -> dict[str, Any]:
    found = yaml.safe_load(rendered(paths, **settings).content[paths.compose][0])["services"]
    assert isinstance(found, dict)
    return found


def test_there_is_a_scheduler_where_one_is_asked_for_only(paths: StackPaths) -> None:
    assert "scheduler" not in services(paths)
    assert "scheduler" in services(paths, scheduler=True)
    assert paths.mounted / "engine" / "scheduler.py" not in rendered(paths).content


def test_it_is_the_engine_with_another_program(paths: StackPaths) -> None:
    found = services(paths, scheduler=True, network="shared", memory="3g")
    ours, engine = found["scheduler"], found["engine"]
    differing = {name for name in ours.keys() | engine.keys() if ours.get(name) != engine.get(name)}
    assert differing == {
        "entrypoint", "environment", "labels", "healthcheck", "stop_grace_period", "depends_on"
    }  # fmt: skip
    assert ours["entrypoint"] == ["/usr/bin/python3", "/run/dqctl/scheduler.py", "run-app", "scheduler"]
    program, mode = rendered(paths, scheduler=True).content[paths.mounted / "engine" / "scheduler.py"]
    assert (program, mode) == (launch.scheduler_program(), 0o444)


def test_another_program_makes_another_container(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    before = services(paths, scheduler=True)["scheduler"]
    monkeypatch.setattr(compose, "scheduler_program", lambda _: "another")
    assert services(paths, scheduler=True)["scheduler"]["labels"] != before["labels"]


def test_it_is_given_the_time_in_which_testgen_ends_its_jobs(paths: StackPaths) -> None:
    # TG_JOB_SHUTDOWN_TIMEOUT is 60 s by default (5.134.0).
    assert services(paths, scheduler=True)["scheduler"]["stop_grace_period"] == "75s"


def test_it_trusts_the_certificates_that_the_engine_trusts(paths: StackPaths, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    environment = services(paths, scheduler=True, ca_bundle=bundle)["scheduler"]["environment"]
    assert environment["SSL_CERT_FILE"] == f"{compose.INSIDE}/{compose.CA_BUNDLE}"
    assert "SSL_CERT_FILE" not in services(paths, scheduler=True)["scheduler"]["environment"]
