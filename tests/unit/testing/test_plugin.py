"""The pytest plugin where nothing of it is asked for, and where what is asked for cannot be."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(600)  # each starts pytest, which takes ten times as long on a busy machine

pytest_plugins = "pytester"


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    program = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import dqctl.testing.plugin\n"
        "new = set(sys.modules) - before\n"
        "print(*sorted(name for name in new if '.' not in name or name.startswith('dqctl')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=True)
    assert set(done.stdout.split()) <= {"dqctl", "dqctl.testing", "dqctl.testing.plugin"}, done.stdout


def test_a_run_that_asks_for_nothing_starts_nothing_and_warns_of_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_of_dqctl_is_loaded():
            loaded = {name for name in sys.modules if name.startswith("dqctl")}
            assert loaded == {"dqctl", "dqctl.testing", "dqctl.testing.plugin"}
        """
    )
    pytester.makefile(".yaml", systems="not: ours", dq_other="not: ours")
    result = pytester.runpytest_subprocess("-W", "error", "--strict-markers", "--strict-config", timeout=280)
    result.assert_outcomes(passed=1)


def test_the_options_and_fixtures_are_in_the_help(pytester: pytest.Pytester) -> None:
    said = pytester.runpytest_subprocess("--help", timeout=280).stdout.str()
    for option in ("--dq-runtime", "--dq-system", "--dq-seed", "--dq-stack", "--dq-fail-on", "--dq-keep"):
        assert option in said
    said = pytester.runpytest_subprocess("--fixtures", timeout=280).stdout.str()
    for fixture in ("dq_workspace", "dq_stack", "dq_schema", "dq_system"):
        assert fixture in said


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_systems_file_that_is_not_there_is_one_error_before_anything_starts(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess(*workers, "--dq-system", "nope.yaml", timeout=280)
    said = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, said
    assert said.count("nope.yaml") == 1
    assert "Traceback" not in said


def test_a_systems_file_with_a_mistake_is_one_error_with_its_line(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", systems="version: 1\nsystems:\n  - name: shop\n    conections: []\n")
    result = pytester.runpytest_subprocess("-n", "2", "systems.yaml", timeout=280)
    said = result.stdout.str()
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED), said  # xdist says the latter
    result.stdout.fnmatch_lines(["*systems.yaml:4*conections*"])
    assert said.count("ERROR systems.yaml") == 1
    assert "Traceback" not in said


def test_options_that_exclude_each_other_are_refused(pytester: pytest.Pytester) -> None:
    pytester.mkdir("seeds")
    result = pytester.runpytest_subprocess("--dq-stack", "default", "--dq-seed", "seeds", timeout=280)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--dq-stack names a stack that is there*"])


def test_tests_are_collected_from_definitions_without_a_stack(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", systems=_SYSTEMS.replace("SYSTEM", "shop"))
    pytester.makefile(".json", orders=_DEFINITIONS)
    argv = ("--dq-definitions", "orders.json", "systems.yaml", "--collect-only", "-q", "-p", "no:randomly")
    result = pytester.runpytest_subprocess(*argv, timeout=280)
    assert result.outlines[:3] == [
        "systems.yaml::orders::Custom[b__ \u00e4 c]",
        "systems.yaml::orders::Missing_Pct[orders.amount]",
        "systems.yaml::orders::Missing_Pct[orders.amount #2]",
    ]
    result = pytester.runpytest_subprocess(*argv, "-m", "dq(severity='fail', suite='orders')", timeout=280)
    assert result.outlines[0] == "systems.yaml::orders::Custom[b__ \u00e4 c]"
    result.stdout.fnmatch_lines(["1/3 tests collected*"])


def test_ini_values_say_what_options_do(pytester: pytest.Pytester) -> None:
    pytester.makeini(
        """
        [pytest]
        dq_system = checks/shop.yaml
        dq_definitions = checks/shop.json checks/other.json
        dq_files = quality-*.yaml
        """
    )
    checks = pytester.mkdir("checks")
    for name, system in (("shop.yaml", "shop"), ("quality-other.yaml", "other"), ("neither.yaml", "neither")):
        (checks / name).write_text(_SYSTEMS.replace("SYSTEM", system))
    for system in ("shop", "other"):
        (checks / f"{system}.json").write_text(_DEFINITIONS.replace('"shop"', f'"{system}"'))
    result = pytester.runpytest_subprocess("--collect-only", "-q", "-p", "no:randomly", timeout=280)
    files = [line.partition("::")[0] for line in result.outlines if "::" in line]
    assert files == ["checks/quality-other.yaml"] * 3 + ["checks/shop.yaml"] * 3


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("dq_runtime = kubernetes", "dq_runtime is one of local, docker, not 'kubernetes'"),
        ("dq_fail_on = always", "dq_fail_on is one of fail, warning, error, never, not 'always'"),
        ("dq_timeout = long", "--dq-timeout is a number of seconds, not 'long'"),
        ("dq_seed = nowhere", "--dq-seed: there is no *nowhere"),
        ("dq_system = nowhere.yaml", "--dq-system: there is no *nowhere.yaml"),
    ],
)
def test_ini_values_that_cannot_be_are_refused_before_anything_starts(
    pytester: pytest.Pytester, written: str, said: str
) -> None:
    pytester.makeini(f"[pytest]\n{written}\n")
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess(timeout=280)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])


_SYSTEMS = """
version: 1
systems:
  - name: SYSTEM
    connections:
      - {name: lake, catalog: main, schema: shop, table_groups: [{name: t, suites: [{name: orders}]}]}
"""
_DEFINITIONS = """{"judged": {"3": {"severity": "Fail", "dimension": null}}, "definitions": [
    {"id": "2", "system": "shop", "test_suite": "orders", "test_type": "Missing_Pct", "table_name": "orders",
     "column_name": "amount", "test_active": "Y"},
    {"id": "1", "system": "shop", "test_suite": "orders", "test_type": "Missing_Pct", "table_name": "orders",
     "column_name": "amount", "test_active": "Y"},
    {"id": "3", "system": "shop", "test_suite": "orders", "test_type": "Custom", "table_name": null,
     "column_name": "b::\\n\u00e4\\tc", "test_active": "Y"},
    {"id": "4", "system": "shop", "test_suite": "orders", "test_type": "Custom", "table_name": "gone",
     "column_name": null, "test_active": "N"}]}"""
