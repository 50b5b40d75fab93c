"""``dqctl`` as people and scripts run it: processes of their own, in a home of their own, and a shop to check."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dqctl.databricks.warehouse import Warehouse
from dqctl.services import tables
from dqctl.settings import Settings, load

SYSTEM, SUITE = "shop", "shop-standard"

# Whoever runs the tests may have set these; what a process prints must not depend on it.
_NOT_INHERITED = ("COLUMNS", "LINES", "CI", "FORCE_COLOR", "NO_COLOR", "PYTHONWARNINGS", "PYTHONSTARTUP")

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
_DATA = (
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


@dataclass(frozen=True)
class CommandLine:
    """Runs commands on the stacks of one home."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        """A command that goes on while the test does, in a process group of its own."""
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        return subprocess.Popen(
            [sys.executable, "-m", "dqctl", "--home", str(self.home), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, **self.environment},
            start_new_session=True,
        )

    def __call__(self, *arguments: object, code: int | None = 0, timeout: float = 240) -> Said:
        """A command from start to end; ``code`` is the exit code it has to have, None allows any."""
        with self.start(*arguments) as process:
            said = finish(process, timeout)
        assert code is None or said.code == code, (arguments, said)
        return said

    def document(self, *arguments: object, code: int | None = 0) -> dict[str, Any]:
        """The object that a command prints with ``--output json``."""
        return self("--output", "json", *arguments, code=code).document

    @property
    def settings(self) -> Settings:
        """The settings that the commands find."""
        return load({"home": self.home}, self.environment)


def finish(process: "subprocess.Popen[str]", timeout: float = 240) -> Said:
    """Wait for the end of a process that was started; it is killed when it takes longer than ``timeout``."""
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        raise
    return Said(process.returncode, out, err)


def load_shop(settings: Settings) -> None:
    """Put the shop's data, as good as new, into the workspace."""
    execute(settings, *_DATA)


def execute(settings: Settings, *statements: str) -> None:
    """Run statements in the workspace."""
    with Warehouse(tables.find_target(settings)) as warehouse:
        for statement in statements:
            warehouse.execute(statement)


def write_systems(directory: Path) -> Path:
    """A systems file that declares the shop."""
    file = directory / "shop.yaml"
    file.write_text(_SYSTEMS, encoding="utf-8")
    return file
