"""``dqctl`` as people and scripts run it: processes of their own, in a home of their own, and a shop to check."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from corpora import Corpus
from dqctl.databricks.warehouse import Warehouse
from dqctl.runtime.local import LocalRuntime
from dqctl.services.target import find_target
from dqctl.settings import Settings, load
from warm_start import NOT_INHERITED, Warm

SYSTEM, SUITE = "shop", "shop-standard"

_SYSTEMS = f"""\
version: 1
systems:
  - name: {SYSTEM}
    title: The shop
    connections:
      - name: lakehouse
        catalog: main
        schema: shop
        max_threads: 2
        table_groups:
          - name: shop-tables
            suites:
              - name: {SUITE}
"""

# Every 7th e-mail address, every 11th note and every 5th birthday is not known.
DATA = (
    "CREATE SCHEMA IF NOT EXISTS main.shop",
    """CREATE OR REPLACE TABLE main.shop.customers AS
    SELECT id AS customer_id, concat('customer ', id) AS name,
           CASE id % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' ELSE 'US' END AS country,
           CASE WHEN id % 7 = 0 THEN NULL ELSE concat('u', id, '@example.com') END AS email,
           CASE WHEN id % 5 = 0 THEN NULL ELSE date_add(DATE'1960-01-01', CAST(id * 37 AS INT)) END AS birthday
    FROM range(1, 301)""",
    """CREATE OR REPLACE TABLE main.shop.orders AS
    SELECT id AS order_id, 1 + id % 300 AS customer_id, CAST(5 + (id * 37) % 1000 AS DOUBLE) / 10 AS amount,
           CASE WHEN id % 10 = 0 THEN 'returned' ELSE 'delivered' END AS status,
           CASE WHEN id % 11 = 0 THEN NULL ELSE concat('note ', id) END AS note,
           date_add(DATE'2023-01-01', CAST(id % 365 AS INT)) AS ordered_on
    FROM range(1, 1201)""",
)
BROKEN = "UPDATE main.shop.orders SET status = 'lost', amount = NULL WHERE order_id % 4 = 0"


@dataclass(frozen=True)
class Said:
    """What one process said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object on stdout, which tells the exit code too."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        assert (found["format"], found["exit_code"]) == (1, self.code), self
        return found

    @property
    def everything(self) -> str:
        return self.out + self.err


class Process:
    """A command that goes on while the test does, in a process group of its own; read while it speaks."""

    def __init__(
        self,
        argv: list[str],
        environment: Mapping[str, str],
        stdin: str | None = None,
        *,
        warm: bool = False,
        program: str | None = None,
    ) -> None:
        """With ``warm``, ``argv`` are arguments of ``dqctl``, which need not be started from its first import.

        Of ``program``, if there is one, which then runs in dqctl's place.
        """
        self._spoken: tuple[list[str], list[str]] = ([], [])
        self._process = (
            Warm(argv, environment, program)
            if warm
            else subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=dict(environment),
                start_new_session=True,
            )
        )
        if self._process.stdin:
            with self._process.stdin as pipe:
                pipe.write(stdin or "")
        self.pid = self._process.pid
        pipes = zip((self._process.stdout, self._process.stderr), self._spoken, strict=True)
        self._readers = [threading.Thread(target=_read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def hear(self, text: str, seconds: float = 120, *, stdout: bool = False) -> bool:
        """Whether ``text`` is said on stderr (stdout) before the process ends, and within ``seconds``."""
        stream = 0 if stdout else 1
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(text in line for line in tuple(self._spoken[stream])):
                return True
            if self._process.poll() is not None:
                self._readers[stream].join(10)
                return any(text in line for line in tuple(self._spoken[stream]))
            time.sleep(0.01)
        return False

    @property
    def spoken(self) -> tuple[str, ...]:
        """Lines on stderr so far."""
        return tuple(self._spoken[1])

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, timeout: float = 240) -> Said:
        """Wait for its end; it is killed when that takes longer than ``timeout``."""
        try:
            code = self._process.wait(timeout)
        except BaseException:
            self._process.kill()
            raise
        for reader in self._readers:
            reader.join(30)
            assert not reader.is_alive(), "somebody else holds the command's output open"
        return Said(code, "".join(self._spoken[0]), "".join(self._spoken[1]))


def _read(pipe: IO[str], into: list[str]) -> None:
    with pipe:
        into.extend(pipe)


@dataclass(frozen=True)
class CommandLine:
    """Runs commands on the stacks of one home. ``prefix`` is what stands before each: ``nsenter ...``."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def start(self, *arguments: object, stdin: str | None = None) -> Process:
        """A command as a shell starts it: to be watched, signalled or killed from its first instruction on."""
        argv = [*self.prefix, sys.executable, "-m", "dqctl", *self._all(arguments)]
        return Process(argv, self._its_environment, stdin)

    def __call__(self, *arguments: object, code: int | None = 0, timeout: float = 240) -> Said:
        """A command from start to end; ``code`` is the exit code it has to have, None allows any.

        It is a process like any other, but one that has its imports behind it, see ``warm_start``.
        """
        if self.prefix:
            said = self.start(*arguments).end(timeout)
        else:
            said = Process(self._all(arguments), self._its_environment, warm=True).end(timeout)
        assert code is None or said.code == code, (arguments, said)
        return said

    def _all(self, arguments: tuple[object, ...]) -> list[str]:
        return ["--home", str(self.home), *map(str, arguments)]

    @property
    def _its_environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        return {"DQCTL_RUNTIME": "local", **kept, **self.environment}

    def document(self, *arguments: object, code: int | None = 0) -> dict[str, Any]:
        """The object that a command prints with ``--output json``."""
        return self("--output", "json", *arguments, code=code).document

    @property
    def settings(self) -> Settings:
        """The settings that the commands find."""
        return load({"home": self.home}, self.environment)


def run_program(program: str, *arguments: object, timeout: float = 120) -> Said:
    """A program of a test's that works with dqctl's modules, from start to end, as ``python -c`` runs it.

    It is a process like any other, to be killed or to kill itself; dqctl's imports are behind it (``warm_start``).
    """
    return Process([*map(str, arguments)], os.environ, warm=True, program=program).end(timeout)


def load_shop(settings: Settings) -> None:
    """Put the shop's data, as good as new, into the workspace."""
    execute(settings, *DATA)


def execute(settings: Settings, *statements: str) -> None:
    """Run statements in the workspace."""
    with Warehouse(find_target(settings)) as warehouse:
        for statement in statements:
            warehouse.execute(statement)


def write_systems(directory: Path) -> Path:
    """A systems file that declares the shop."""
    file = directory / "shop.yaml"
    file.write_text(_SYSTEMS, encoding="utf-8")
    return file


# What tests compare with what is published, and the jobs behind it.
_STORED = (
    "job_executions",
    "test_suites",
    "test_definitions",
    "test_results",
    "profile_results",
    "profile_anomaly_results",
)


def stored_tables(runtime: LocalRuntime) -> Corpus:
    """TestGen's own tables as they are, read past all of our code."""
    columns, rows = {}, {}
    with runtime.metadata() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in _STORED:
            columns[table] = [
                (str(name), str(kind))
                for name, kind in connection.execute(
                    "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                    " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                    (table,),
                )
            ]
            values = ", ".join(f'"{name}"::text' for name, _ in columns[table])
            names = [name for name, _ in columns[table]]
            found = connection.execute(f"SELECT {values} FROM {table}".encode()).fetchall()
            rows[table] = [dict(zip(names, row, strict=True)) for row in found]
    return Corpus(runtime.version, columns, rows)
