"""A real dbt-databricks project, examples/dbt, on the workspace: built, loaded further, documented, cloned."""

import csv
import json
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from databricks import sql

from dqctl.localworkspace.endpoint import Endpoint
from workspaces import DBT, connected, connector_python, foreign_environment, running_workspace

pytestmark = [pytest.mark.local, pytest.mark.thorough, pytest.mark.timeout(1200)]

PROBE = Path(__file__).parent / "invoking_dbt.py"
EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt"

FIRST, LAST = "2013-01-03", "2013-01-05"
_SECONDS = 800

Rows = list[tuple[Any, ...]]


class Dbt:
    """dbt in an environment and a process of its own, in a copy of the project."""

    def __init__(self, endpoint: Endpoint, project: Path) -> None:
        self._said: list[str] = []
        token = endpoint.token_file.read_text().strip()
        self._process = subprocess.Popen(
            [connector_python(DBT), "-X", "faulthandler", str(PROBE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=project,
            env=foreign_environment(endpoint)
            | {"DATABRICKS_HOST": f"https://{endpoint.host}", "DATABRICKS_TOKEN": token, "HOME": str(project)},
        )
        # Aborted, it says where it was.
        self._late = threading.Timer(_SECONDS, self._process.send_signal, [signal.SIGABRT])
        self._late.start()

    def __call__(self, *arguments: str, **variables: object) -> dict[str, Any]:
        """What came of ``dbt <arguments> --vars <variables>``."""
        assert self._process.stdin
        assert self._process.stdout
        given = [*arguments, *(["--vars", json.dumps(variables)] if variables else [])]
        print(json.dumps(given), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                answer: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
                assert answer["success"], f"dbt {' '.join(given)}\n{answer}\n{self.said}"
                return answer
            self._said.append(line)
        raise AssertionError(f"dbt ended: {self.said}")

    @property
    def said(self) -> str:
        """What dbt printed so far."""
        return "".join(self._said)

    def end(self) -> None:
        """No further invocations."""
        self._late.cancel()
        self._process.communicate(timeout=60)


@dataclass
class Story:
    """What was seen after each step."""

    query: Callable[[str], Rows]
    project: Path
    outcomes: dict[str, Mapping[str, list[str]]] = field(default_factory=dict)
    rows: dict[str, dict[str, Rows]] = field(default_factory=dict)
    columns: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    counted: str = ""

    def look(self, step: str, outcome: Mapping[str, Any]) -> None:
        """Keep what the tables hold now."""
        self.outcomes[step] = outcome["results"]
        tables = [row[1] for row in self.query("SHOW TABLES IN main.flights")]
        self.rows[step] = {name: self.query(f"SELECT * FROM main.flights.{name}") for name in tables}
        self.columns[step] = {
            name: [row[0] for row in self.query(f"SHOW COLUMNS IN main.flights.{name}")] for name in tables
        }


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    python = connector_python(DBT)
    assert python
    project = tmp_path_factory.mktemp("dbt") / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("target", "logs"))
    with running_workspace() as endpoint, connected(endpoint) as connection:

        def query(statement: str) -> Rows:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return [tuple(row) for row in cursor.fetchall()]

        told = Story(query, project)
        dbt = Dbt(endpoint, project)
        try:
            _tell(told, dbt)
        finally:
            dbt.end()
        yield told


def _tell(story: Story, dbt: Dbt) -> None:
    story.look("first", dbt("build", through=FIRST))
    shutil.copytree(story.project / "target", story.project / "state")
    story.look("second", dbt("build", through=LAST))
    story.look("again", dbt("run", through=LAST))
    dbt("snapshot", through=LAST)
    story.look("changed", dbt("run", "--select", "flights", "flights_synced", through=LAST, with_distance=True))
    story.look("refreshed", dbt("run", "--full-refresh", "--select", "flights", "delays_by_day", through=LAST))
    dbt("docs", "generate", through=LAST)
    dbt("clone", "--target", "review", "--state", "state", "--select", "carriers", "flights", through=LAST)
    before = len(dbt.said)
    dbt("run-operation", "row_counts")
    story.counted = dbt.said[before:]


def _flights(through: str) -> list[dict[str, str]]:
    with (EXAMPLE / "seeds" / "raw_flights.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["flight_date"] <= through]


def _late(flights: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in flights if row["dep_delay"] and int(row["dep_delay"]) >= 15]


@pytest.mark.feature("Clients", "dbt-databricks: seeds, models of each kind, tests, snapshots")
def test_everything_is_built(story: Story) -> None:
    statuses = {name: status for name, (status, _) in story.outcomes["first"].items()}
    assert len(statuses) == 23
    assert set(statuses.values()) == {"success", "pass", "warn"}
    assert [name for name, status in statuses.items() if status == "warn"] == [
        "relationships_stg_flights_dest__faa__ref_raw_airports_"
    ], "Puerto Rico's airports are missing in the data"


@pytest.mark.feature(
    "Clients", "dbt-databricks: incremental by merge, append, insert_overwrite, replace_where, delete+insert"
)
def test_incremental_models_take_in_what_is_new(story: Story) -> None:
    for step, through in (("first", FIRST), ("second", LAST)):
        rows, flights = story.rows[step], _flights(through)
        assert len(flights) == (120 if step == "first" else 200)
        keys = {(row["flight_date"], row["carrier"], row["flight"], row["origin"]) for row in flights}
        merged = [(str(row[1]), row[2], str(row[3]), row[4]) for row in rows["flights"]]
        assert (len(merged), set(merged)) == (len(flights), keys)
        assert len(rows["arrivals_log"]) == len(flights)
        assert len(rows["flights_synced"]) == len(flights)
        assert len(rows["late_flights"]) == len(_late(flights))
        days = {(str(row[0]), row[1]): (row[2], row[3]) for row in rows["delays_by_day"]}
        assert len(days) == len(rows["delays_by_day"])
        assert sum(number for number, _ in days.values()) == len(flights)
        assert sum(late for _, late in days.values()) == len(_late(flights))
        assert {day for day, _ in days} == {row["flight_date"] for row in flights}
        by_day: Counter[str] = Counter()
        for day, _origin, _dest, number in rows["routes_by_day"]:
            by_day[str(day)] += number
        assert by_day == Counter(row["flight_date"] for row in flights)


def test_the_same_run_again_changes_nothing(story: Story) -> None:
    def sorted_rows(step: str) -> dict[str, list[str]]:
        return {name: sorted(map(str, rows)) for name, rows in story.rows[step].items()}

    assert sorted_rows("again") == sorted_rows("second")


@pytest.mark.feature("Clients", "dbt-databricks: schema changes of incremental models")
def test_a_new_column_is_appended_or_all_are_synced(story: Story) -> None:
    assert story.columns["changed"]["flights"] == [*story.columns["again"]["flights"], "distance"]
    assert story.columns["again"]["flights_synced"] == ["flight_date", "carrier", "flight", "origin", "tailnum"]
    assert story.columns["changed"]["flights_synced"] == ["flight_date", "carrier", "flight", "origin", "distance"]
    distances = {row[-1] for row in story.rows["changed"]["flights_synced"]}
    assert distances == {int(row["distance"]) for row in _flights(LAST)}


def test_a_full_refresh_begins_anew(story: Story) -> None:
    assert story.columns["refreshed"]["flights"] == story.columns["again"]["flights"]
    for name in ("flights", "delays_by_day"):
        assert sorted(map(str, story.rows["refreshed"][name])) == sorted(map(str, story.rows["again"][name]))


@pytest.mark.feature("Clients", "dbt-databricks: snapshots by check and by timestamp")
@pytest.mark.parametrize("name", ["carriers_by_value", "carriers_by_time"])
def test_snapshots_keep_what_was(story: Story, name: str) -> None:
    found = story.query(
        f"SELECT name, dbt_valid_to IS NULL FROM main.flights_history.{name} WHERE carrier = 'FL' ORDER BY 2"
    )
    assert found == [("AirTran Airways Corporation", False), ("Southwest Airlines Co.", True)]
    others = story.query(
        f"SELECT count(*), count(dbt_valid_to) FROM main.flights_history.{name} WHERE carrier <> 'FL'"
    )
    assert others == [(15, 0)], "the third snapshot saw nothing new"


@pytest.mark.feature("Clients", "dbt-databricks: contracts and constraints")
def test_contracts_are_kept_by_the_table(story: Story) -> None:
    assert story.query(
        "SELECT column_name, full_data_type, is_nullable FROM main.information_schema.columns"
        " WHERE table_schema = 'flights' AND table_name = 'carriers' ORDER BY ordinal_position"
    ) == [
        ("carrier", "string", "NO"),
        ("name", "string", "NO"),
        ("flights", "bigint", "YES"),
        ("mean_dep_delay", "decimal(10,2)", "YES"),
        ("updated_at", "timestamp", "YES"),
    ]
    for values, said in (
        ("(NULL, 'x', 1, 1, NULL)", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED"),
        ("('x', 'x', -1, 1, NULL)", "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"),
    ):
        with pytest.raises(sql.Error, match=said):
            story.query(f"INSERT INTO main.flights.carriers VALUES {values}")
    kinds = story.query(
        "SELECT constraint_type FROM main.information_schema.table_constraints"
        " WHERE table_schema = 'flights' AND table_name = 'carriers'"
    )
    assert ("PRIMARY KEY",) in kinds


@pytest.mark.feature("Clients", "dbt-databricks: persist_docs and dbt docs generate")
def test_descriptions_are_in_the_catalog_and_in_the_documentation(story: Story) -> None:
    (comment,) = story.query(
        "SELECT comment FROM main.information_schema.tables"
        " WHERE table_schema = 'flights' AND table_name = 'carriers'"
    )
    assert comment == ("Who flies, how much, and how late. It's one row a carrier.",)
    comments = dict(
        story.query(
            "SELECT concat(table_name, '.', column_name), comment FROM main.information_schema.columns"
            " WHERE table_schema = 'flights' AND comment <> ''"
        )
    )
    assert comments["stg_flights.dep_delay"] == 'Minutes; negative when it left early. "Late" means 15 or more.'
    assert comments["carriers.carrier"] == "Two letters or digits."
    assert comments["flights.origin"] == "EWR, JFK or LGA"
    catalog = json.loads((story.project / "target" / "catalog.json").read_text())
    assert catalog["errors"] is None
    assert len(catalog["nodes"]) == 14, "three seeds, nine models that are there, two snapshots"
    documented = catalog["nodes"]["model.nyc_flights.carriers"]
    # dbt reads it out of DESCRIBE EXTENDED as text, up to the last line that looks like a key.
    assert documented["metadata"]["comment"].startswith(comment[0])
    assert documented["metadata"]["type"] == "table"
    assert documented["columns"]["mean_dep_delay"]["type"] == "decimal(10,2)"


@pytest.mark.feature("Clients", "dbt-databricks: tags and table properties")
def test_tags_and_properties_are_kept(story: Story) -> None:
    assert story.query(
        "SELECT tag_name, tag_value FROM system.information_schema.table_tags"
        " WHERE schema_name = 'flights' AND table_name = 'carriers'"
    ) == [("domain", "aviation")]
    assert ("quality", "gold") in story.query("SHOW TBLPROPERTIES main.flights.carriers")


@pytest.mark.feature("Clients", "dbt-databricks: grants")
def test_grants_are_recorded(story: Story) -> None:
    found = {row[:2] for row in story.query("SHOW GRANTS ON TABLE main.flights.carriers")}
    assert ("analysts", "SELECT") in found


@pytest.mark.feature("Clients", "dbt-databricks: clone and run-operation")
def test_clones_are_tables_of_their_own(story: Story) -> None:
    (number,) = story.query("SELECT count(*) FROM main.flights_review.flights")
    assert number == (200,)
    story.query("DELETE FROM main.flights_review.flights WHERE origin = 'EWR'")
    assert story.query("SELECT count(*) FROM main.flights.flights") == [(200,)]
    assert "carriers 16" in story.counted
    assert "stg_flights 120" in story.counted or "stg_flights 200" in story.counted


def test_the_days_of_the_project_are_those_of_its_data() -> None:
    days = {date.fromisoformat(row["flight_date"]) for row in _flights(LAST)}
    assert days == {date(2013, 1, day) for day in range(1, 6)}
