"""How many rows TestGen stores of what a ``list-*`` or ``get-*`` command shows: some commands hide rows.

``get-test-results`` leaves out results whose definition was deleted, ``list-test-runs`` and ``list-profiles`` runs
without rows (5.33.3 to 5.134.0). Asked only where the arguments say which rows are meant and nothing filters them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from dqctl.testgen.stock import CommandLine

_PROJECT, _SUITE = ("-pk", "--project-key"), ("-ts", "--test-suite-key")
_DISPLAY = ("-d", "--display")


@dataclass(frozen=True)
class _Count:
    query: str
    options: tuple[tuple[str, ...], ...]
    """The spellings of the option that each parameter of ``query`` is the value of."""


_COUNTS: Mapping[str, _Count] = {
    "get-test-results": _Count(
        "SELECT count(*) FROM test_results WHERE test_run_id::text = %s", (("-tr", "--test-run-id"),)
    ),
    "get-profile": _Count(
        "SELECT count(*) FROM profile_results WHERE profile_run_id::text = %s", (("-pr", "--profile-run-id"),)
    ),
    "list-profiles": _Count(
        "SELECT count(*) FROM profiling_runs WHERE table_groups_id::text = %s", (("-tg", "--table-group-id"),)
    ),
    "list-test-runs": _Count(
        "SELECT count(*) FROM test_runs r JOIN test_suites s ON s.id = r.test_suite_id"
        " WHERE s.project_code = %s AND s.test_suite = %s",
        (_PROJECT, _SUITE),
    ),
}


def stored_rows(connection: "psycopg.Connection[tuple[Any, ...]]", line: CommandLine) -> int | None:
    """The number of rows that the metadata has for what ``line`` shows; None where nobody can tell."""
    counted = _COUNTS.get(line.command)
    values = _values(line.rest, counted.options) if counted else None
    if counted is None or values is None:
        return None
    row = connection.execute(counted.query.encode(), values).fetchone()
    return int(row[0]) if row else None


def _values(arguments: Sequence[str], options: Sequence[tuple[str, ...]]) -> list[str] | None:
    """The options' values; None unless ``arguments`` are exactly these options."""
    given: dict[tuple[str, ...], str] = {}
    rest = iter(arguments)
    for argument in rest:
        if argument in _DISPLAY:
            continue
        name, equals, value = argument.partition("=")
        option = next((each for each in options if name in each), None)
        if option is None or (equals and not name.startswith("--")):
            return None
        given[option] = value if equals else next(rest, "")
    return [given[option] for option in options] if set(given) == set(options) else None
