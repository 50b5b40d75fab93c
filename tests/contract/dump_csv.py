"""Makes golden CSVs of a version of TestGen: ``python dump_csv.py VERSION ENVIRONMENTS DIRECTORY``.

Installs a stack of that version in a home of its own (ENVIRONMENTS is a directory of installed programs), checks a
small shop in it, writes values into the metadata that people write and parsers stumble over, and keeps what every
``list-*`` and ``get-*`` command of this version writes: ``DIRECTORY/VERSION/<command>.csv``, byte for byte. A
command that fails in this version leaves no file. ``types.json`` has PostgreSQL's own types of the columns.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import work
from dqctl.services.apply import apply
from dqctl.services.install import install
from dqctl.settings import load
from target_database import PASSWORD, Target

AWKWARD = 'it\'s "odd",\r\nline two;\ttab é 😀 \\n ""'
KEY = "planted-observability-key-4711"

# A column that is nearly always the same awkward value: the profile's anomalies quote it.
_DATA = """
CREATE TABLE sales."Größe, sonder" AS SELECT i AS "Artikel Nr",
  CASE WHEN i % 50 = 0 THEN 'plain' ELSE $${value}$$ END AS "Straße, Ort" FROM generate_series(1, 200) i;
GRANT SELECT ON ALL TABLES IN SCHEMA sales TO probe;
"""
_DEFECTS = "UPDATE sales.customers SET country = 'XX', email = NULL WHERE customer_id % 3 = 0"

# Between the runs of tests: descriptions, a condition of two lines, and a test of a column that there is not.
_DEFINITIONS = (
    "UPDATE test_definitions SET test_description = %(awkward)s WHERE table_name = 'customers'",
    "UPDATE test_definitions SET subset_condition = E'customer_id > 0\nAND name <> ''\"a\", b'''"
    " WHERE id = (SELECT id FROM test_definitions WHERE table_name = 'customers' ORDER BY id LIMIT 1)",
    "UPDATE test_definitions SET column_name = 'no \"such\", column', lock_refresh = 'Y'"
    " WHERE id = (SELECT id FROM test_definitions WHERE table_name = 'orders' AND column_name > '' LIMIT 1)",
    "UPDATE test_definitions SET test_active = 'N', watch_level = NULL"
    " WHERE id = (SELECT max(id::text)::uuid FROM test_definitions WHERE table_name = 'orders')",
)
# After the work: nothing of this is needed to reach the data.
_ENTITIES = (
    "UPDATE projects SET project_name = %(awkward)s, observability_api_key = %(key)s WHERE project_code = 'sales'",
    "UPDATE test_suites SET test_suite_description = %(awkward)s, component_key = 'a,b'"
    " WHERE test_suite = 'sales-suite'",
    "UPDATE test_suites SET test_suite_description = NULL WHERE test_suite = 'second'",
    "UPDATE connections SET project_host = %(awkward)s",
    "UPDATE table_groups SET profiling_include_mask = %(awkward)s, profiling_exclude_mask = NULL",
    "UPDATE test_results SET observability_status = 'Sent'"
    " WHERE id = (SELECT min(id::text)::uuid FROM test_results)",
)


def calls(runtime: LocalRuntime) -> dict[str, tuple[str, ...]]:
    """Every ``list-*`` and ``get-*`` command that the version has, with arguments that find something."""
    with runtime.metadata() as connection:
        group = _one(connection, "SELECT id FROM table_groups LIMIT 1")
        profile = _one(connection, "SELECT id FROM profiling_runs LIMIT 1")
        run = _one(connection, "SELECT id FROM test_runs ORDER BY test_starttime DESC LIMIT 1")
    project, suite = ("-pk", "sales"), ("-ts", "sales-suite")
    arguments = {
        "list-projects": (),
        "list-connections": (),
        "list-test-types": (),
        "list-table-groups": project,
        "list-test-suites": project,
        "get-test-suite": (*project, *suite),
        "list-profiles": ("-tg", group),
        "get-profile": ("-pr", profile),
        "get-profile-anomalies": ("-pr", profile),
        "list-tests": (*project, *suite),
        "list-test-generation": (*project, *suite),
        "list-test-runs": (*project, *suite),
        "get-test-results": ("-tr", run),
    }
    said = runtime.run(["--help"], deadline=Deadline(120)).stdout
    has = set(re.findall(r"^  ((?:list|get)-[a-z-]+)", said, re.MULTILINE))
    if has != set(arguments):
        raise SystemExit(f"commands without arguments here, or gone: {sorted(has ^ set(arguments))}")
    return arguments


def types(runtime: LocalRuntime) -> Iterator[tuple[str, dict[str, str]]]:
    """PostgreSQL's types of the columns, by the name of the SQL template that a command reads."""
    templates = runtime.environment.path.glob("lib/python3*/site-packages/testgen/template/get_entities/*.sql")
    with runtime.metadata() as connection:
        for path in sorted(templates):
            text = re.sub(r"(?<!:):([A-Z_]+)\b", "NULL", path.read_text(encoding="utf-8"))
            text = text.replace("{ERRORS_ONLY}", "").replace("{VERSION_RESOLUTION}", "NULL").replace("%", "%%")
            try:
                found = connection.execute(text.encode(), ()).description or []
            except psycopg.Error as error:
                connection.rollback()
                yield path.stem, {"error": str(error).splitlines()[0]}
                continue
            yield path.stem, {each.name: each.type_display for each in found}


def make(home: Path, version: str) -> LocalRuntime:
    """A stack that has profiled, generated and tested, twice: as good as new, and after a defect."""
    settings = load({"home": home}, {})
    install(settings, version=version, progress=silent)
    runtime = open_runtime(settings, silent)
    target = Target.make(runtime)
    # get-profile-anomalies of 5.33.3 dies of a frequent value with a line break in it (its fn_parsefreq).
    value = AWKWARD.replace("\r\n", " | ") if version == "5.33.3" else AWKWARD
    _execute(runtime, "target", _DATA.format(value=value))
    file = target.write_systems(home, "sales", more="              - name: second\n")
    apply(runtime, file, access=None, environment={"PROBE_PASSWORD": PASSWORD}, deadline=Deadline(300))
    work.profile(settings, "sales", progress=silent)
    work.generate(settings, "sales", "sales-suite", progress=silent)
    values = {"awkward": AWKWARD, "key": KEY}
    work.run_tests(settings, ["sales-suite"], progress=silent)
    with runtime.metadata() as connection:
        for statement in _DEFINITIONS:
            connection.execute(statement.encode(), values if "%(" in statement else None)
    _execute(runtime, "target", _DEFECTS)
    work.run_tests(settings, ["sales-suite"], progress=silent)
    with runtime.metadata() as connection:
        for statement in _ENTITIES:
            connection.execute(statement.encode(), values if "%(" in statement else None)
    return runtime


def _execute(runtime: LocalRuntime, database: str, statement: str) -> None:
    with runtime.postgres.connect(database) as connection:
        connection.execute(statement.encode())


def _one(connection: "psycopg.Connection[Any]", query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise SystemExit(f"found nothing: {query}")
    return str(row[0])


def main() -> None:
    """Write the files of one version."""
    version, environments, directory = sys.argv[1:]
    into = Path(directory) / version
    into.mkdir(parents=True, exist_ok=True)
    # Not below a closed directory: PostgreSQL's account has to get in.
    home = Path(tempfile.mkdtemp(prefix="dq-"))
    home.chmod(0o711)
    (home / "environments").symlink_to(Path(environments).resolve())
    runtime = make(home, version)
    try:
        for command, arguments in calls(runtime).items():
            done = runtime.run([command, *arguments], deadline=Deadline(120), fetch="testgen/file-out")
            for name, content in done.files.items():
                (into / f"{command}.csv").write_bytes(content)
                sys.stderr.write(f"{command}: {name}, {len(content)} bytes\n")
            if not done.files:
                sys.stderr.write(f"{command}: exit code {done.exit_code}: {done.stdout[-600:]}\n")
        found = json.dumps(dict(types(runtime)), indent=1, ensure_ascii=False)
        (into / "types.json").write_text(found + "\n", encoding="utf-8")
    finally:
        runtime.down()
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
