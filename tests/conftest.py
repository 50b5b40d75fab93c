"""Tiers, and an environment that says nothing about anybody's real stacks and workspaces."""

import gc
import os
import subprocess

import hypothesis
import pytest

import compatibility
import thorough
from tiers import TIERS, required, unavailable

_FOREIGN = ("DQCTL_", "DATABRICKS_", "TG_", "TESTGEN_", "PG")
_OURS = ("DQCTL_TEST_", "DQCTL_LIVE_", "DQCTL_VENV")


# Two cores, five workers: how long an example takes says nothing. In CI the examples are always the same ones.
hypothesis.settings.register_profile("dqctl", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("dqctl")


_outcomes = compatibility.Outcomes()

# What collecting makes stays: looking for garbage in it, then and in each test, is a fifth of its time.
gc.disable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compatibility", choices=("write", "check"), help="docs/compatibility.md, by what is seen")
    parser.addoption("--thorough", action="store_true", help="also what takes long (tests/thorough.py)")


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.startswith(_FOREIGN) and not name.startswith(_OURS):
            del os.environ[name]
    # Saved by the tests that ask for it: the others count their statements and their seconds. Commands that they
    # start inherit it; settings that they make themselves find the same in their home (local/conftest.py).
    os.environ["DQCTL_STATE"] = "off"
    thorough.choose(config)
    if unknown := required() - set(TIERS):
        raise pytest.UsageError(f"DQCTL_TEST_REQUIRE names no tier: {', '.join(sorted(unknown))}")


# The files that take longest, the longest first: a file goes to one worker, and the last one must be short.
_LONGEST = (
    "test_ci_recipes", "test_pytest_plugin",
    "test_upgrade", "test_credentials", "test_killed_anywhere", "test_dbt", "test_main_job", "test_lakebase",
    "test_engine_faults", "test_first_steps", "test_testgen_command", "test_jobs", "test_publish",
    "test_compliance", "test_ci", "test_ci_docker", "test_state_restore", "test_container_places", "test_crashes",
    "test_sidecar", "test_export",
    "test_metadata_template", "test_install_faults", "test_demo", "test_night", "test_disk_full",
    "test_engine_crashes", "test_state", "test_container_faults", "test_upgrade_docker",
    "test_container_scheduler", "test_monitoring_docker", "test_backup", "test_images", "test_postgres",
    "test_apply", "test_publish_faults", "test_state_commands", "test_deferred_imports", "test_doctor_docker",
    "test_doctor", "test_upgrade_killed", "test_backup_docker", "test_ansi", "test_publish_values",
    "test_container_lakebase", "test_alerting", "test_workspace_life", "test_secrets", "test_bundle",
    "test_runtime_local",
    "test_workspace_connector", "test_container_stack", "test_app", "test_workspace_faults",
    "test_workspace_cli", "test_work", "test_access_rotation",
)  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_LONGEST)}

    def place(item: pytest.Item) -> int:
        tiers = any(item.get_closest_marker(tier) for tier in TIERS)
        return places.get(item.path.stem, len(places) if tiers else len(places) + 1)

    items.sort(key=place)
    compatibility.mark(items)
    if items and not items[0].config.getoption("--thorough"):
        thorough.check(items)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _outcomes.add(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    what = session.config.getoption("--compatibility")
    if not what or hasattr(session.config, "workerinput"):  # a worker has its own reports only
        return
    if differences := list(compatibility.settle(_outcomes, what)):
        print("\n".join(("", *differences)))  # noqa: T201 - what the run ends with
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_runtest_setup(item: pytest.Item) -> None:
    thorough.leave_out(item)
    # The local tier is gated where it begins to need something: the fixture environments_cache.
    if item.get_closest_marker("docker"):
        _need_docker()
    if item.get_closest_marker("live") and not os.environ.get("DQCTL_LIVE_HOST"):
        unavailable("live", "DQCTL_LIVE_HOST names no Databricks workspace")


def _need_docker() -> None:
    try:
        found = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],  # noqa: S607 - whichever docker the user has
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        unavailable("docker", str(error))
    else:
        if found.returncode:
            unavailable("docker", found.stderr.strip())
