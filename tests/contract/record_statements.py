"""Makes ``statements/<version>.json``: what TestGen sends to Databricks, and what a real Spark answers.

    python tests/contract/record_statements.py sc://127.0.0.1:15002

Stock TestGen profiles, generates and tests ``data.sql`` in a local workspace over the embedded engine, which
writes every statement down; a test of each type is declared that generation leaves out. The queries among them are
then asked of the Spark Connect server over the same data (docs/operations.md, "On Spark").
``tests/workspace/test_contract.py`` asks the embedded engine, and compares.

It needs what the local tier needs, and takes a minute or two.
"""

# ruff: noqa: T201 - a program that says what it did

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from sqlglot import exp  # noqa: E402 - the tests' own modules are found from here on

from command_line import CommandLine, execute  # noqa: E402
from contract.declared_tests import declared  # noqa: E402
from contract.replayed import DATA, Replay, data_statements  # noqa: E402
from dqctl.localworkspace import control, session  # noqa: E402
from dqctl.localworkspace.contract import Parameter, Result, StatementError  # noqa: E402
from dqctl.localworkspace.lakehouse import open_lakehouse  # noqa: E402
from dqctl.localworkspace.server import Options, run  # noqa: E402
from dqctl.localworkspace.sql.statement import parse  # noqa: E402
from dqctl.progress import silent  # noqa: E402
from dqctl.runtime import open_runtime  # noqa: E402
from tiers import cache  # noqa: E402

VERSION = "5.134.0"
SYSTEM = "contract"
_SYSTEMS = f"""\
version: 1
systems:
  - name: {SYSTEM}
    connections:
      - name: lakehouse
        catalog: main
        schema: contract
        table_groups:
          - name: contract-tables
            suites:
              - name: all-types
"""


def serve(data_dir: Path, log: Path) -> None:
    """A workspace whose sessions write down what they are asked."""
    plain = session.LocalSession.execute

    def execute_and_note(
        self: session.LocalSession, statement: str, parameters: Sequence[Parameter] = ()
    ) -> Result:
        entry = {"sql": statement, "ansi": self._context.settings.get("ANSI_MODE") == "true"}
        entry |= {"parameters": [[one.name, one.type, one.value] for one in parameters]} if parameters else {}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        return plain(self, statement, parameters)

    session.LocalSession.execute = execute_and_note  # type: ignore[method-assign]
    run(Options(data_dir))


def record(directory: Path) -> list[dict[str, object]]:
    """The statements of a profile, of generation and of a run of every type of test, each once, in order."""
    data_dir, log, home = directory / "data", directory / "statements.jsonl", directory / "home"
    home.mkdir(mode=0o711)
    (home / "environments").symlink_to(cache() / "environments")
    server = subprocess.Popen([sys.executable, __file__, "serve", str(data_dir), str(log)])
    try:
        while not control.status(data_dir).answers:
            assert server.poll() is None, "the workspace ended"
            time.sleep(0.1)
        dqctl = CommandLine(home, {"DQCTL_WORKSPACE": str(data_dir), "DQCTL_STATE": "off"})
        execute(dqctl.settings, *data_statements())
        systems = home / "contract.yaml"
        systems.write_text(_SYSTEMS, encoding="utf-8")
        dqctl("install", "--version", VERSION, timeout=600)
        dqctl("apply", "-f", systems)
        log.write_text("", encoding="utf-8")
        dqctl("profile", SYSTEM)
        dqctl("generate", SYSTEM)
        runtime = open_runtime(dqctl.settings, silent)
        with runtime.metadata() as connection:
            declared(connection)
        dqctl("run-tests", "--all", "--fail-on", "never", code=None)
        with runtime.metadata() as connection:
            tested = connection.execute(
                "SELECT test_type, result_status, result_message FROM test_results ORDER BY 1"
            ).fetchall()
            known = {name for (name,) in connection.execute("SELECT test_type FROM test_types").fetchall()}
        for kind, status, message in tested:
            if status == "Error":
                print(f"{kind}: {message}", file=sys.stderr)
        print(f"types without a result: {sorted(known - {row[0] for row in tested})}", file=sys.stderr)
        runtime.down()
    finally:
        server.terminate()
        server.wait(30)
    found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    unique = {json.dumps(one): one for one in found if _is_of_testgen(str(one["sql"]))}
    return list(unique.values())


def _is_of_testgen(statement: str) -> bool:
    # dqctl's own statements are about its own tables, and have tests of their own.
    if "data_quality" in statement or "contract" not in statement:
        return False
    try:
        return isinstance(parse(statement), exp.Query)
    except StatementError:
        return False


def main() -> None:
    """Record, ask Spark, and write the file, a line a statement."""
    engine = sys.argv[1]
    directory = Path(tempfile.mkdtemp(prefix="dq-"))
    directory.chmod(0o711)
    try:
        statements = record(directory)
        with (
            contextlib.closing(open_lakehouse(directory / "spark", engine=engine)) as lakehouse,
            contextlib.closing(Replay(lakehouse)) as spark,
        ):
            spark.make_data()
            version = spark.answer({"sql": "SELECT version()", "ansi": True})["rows"][0][0].split()[0]
            lines = [json.dumps(one | spark.answer(one), ensure_ascii=False) for one in statements]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    file = DATA.parent / f"{VERSION}.json"
    head = json.dumps({"testgen": VERSION, "spark": version})
    file.write_text(f'{{"versions": {head}, "statements": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    print(f"{file}: {len(lines)} statements, {file.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    os.environ.setdefault("DQCTL_TEST_CACHE", str(cache()))
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
