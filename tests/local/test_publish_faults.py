"""Publishing while the workspace fails in every way that it can: exactly once, or safe and said so.

The faults are the local workspace's own (``dqctl.localworkspace.faults``); loader and connector are the real ones.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from corpora import corpus, restore
from dqctl import records
from dqctl.clock import Clock
from dqctl.databricks.target import ServicePrincipal, Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DatabricksRefused, DqctlError, NotPublished
from dqctl.localworkspace import client
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Effect, Fault, Kind
from dqctl.localworkspace.tokens import Tokens
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.postgres import Postgres
from dqctl.services import publish, tables
from dqctl.services.target import find_endpoint, find_target
from dqctl.settings import Settings
from publishing import Stack, Watched, assert_exactly_once, publish_to, published, running, versions

pytestmark = pytest.mark.local

# Pauses between attempts are not what is tested here, nor how long a statement takes on a machine with much to do.
IMPATIENT = Clock(monotonic=lambda: time.monotonic() / 20, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))
# As many as one statement survives: of two publishers, one might be hit again and again.
CONFLICTS = Fault(Effect.ERROR, matching="^INSERT", every=3, times=4)
FULL = (
    "Job aborted due to stage failure: Total size of serialized results of 12 tasks (4.1 GiB) is bigger than "
    "spark.driver.maxResultSize 4.0 GiB."
)


def rotating(*faults: Fault) -> list[Fault]:
    """Each other statement fails, the faults taking turns; the one after it is the same again, and let through.

    A request that met a fault is not counted by those behind it, hence the numbers.
    """
    count = len(faults)
    return [replace(one, times=0, skip=place, every=2 * count - place) for place, one in enumerate(faults)]


SURVIVED = {
    "other writers": rotating(
        Fault(Effect.ERROR, error_class="DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES"),
        Fault(Effect.ERROR, error_class="DELTA_CONCURRENT_DELETE_READ.WITHOUT_HINT"),
        Fault(Effect.ERROR, error_class="DELTA_METADATA_CHANGED"),
    ),
    "a busy, a stopping warehouse": rotating(
        Fault(Effect.STATUS, status=429, retry_after=1),
        Fault(Effect.STATUS, status=503),
        Fault(Effect.STOP, seconds=0.05),
    ),
    "a broken connection": rotating(Fault(Effect.RESET), Fault(Effect.CUT)),
    "lost answers": rotating(Fault(Effect.LOST)),
}

_numbers = itertools.count()


@pytest.fixture(scope="module")
def postgres(installed_stack: Settings) -> Postgres:
    return open_runtime(installed_stack, silent).postgres


@pytest.fixture(scope="module")
def make_stack(postgres: Postgres) -> Callable[[], Stack]:
    template = "publish_faults"
    with postgres.connect("postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{template}"'.encode())
    with postgres.connect(template) as connection:
        restore(corpus("5.134.0"), connection)

    def make() -> Stack:
        database = f"{template}_{next(_numbers)}"
        with postgres.connect("postgres", autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"'.encode())
        return Stack("5.134.0", postgres, database)

    return make


@pytest.fixture
def stack(make_stack: Callable[[], Stack]) -> Stack:
    return make_stack()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running(tmp_path_factory.mktemp("workspace")) as data_dir:
        yield data_dir


@pytest.fixture
def endpoint(workspace: Path) -> Iterator[Endpoint]:
    found = find_endpoint(workspace)
    yield found
    client.clear_faults(found)


@pytest.fixture
def settings(endpoint: Endpoint, tmp_path: Path) -> Settings:
    """A schema of the test's own, in a workspace without faults so far."""
    return Settings(home=tmp_path, workspace=endpoint.data_dir, schema_name=f"dq_{next(_numbers)}")


def impatient(settings: Settings, **options: Any) -> Callable[[], Warehouse]:
    return lambda: Warehouse(find_target(settings), IMPATIENT, **options)


def hits(endpoint: Endpoint) -> list[int]:
    return [found["hit"] for found in client.list_faults(endpoint)]


@pytest.mark.thorough(but="lost answers")
@pytest.mark.parametrize("name", SURVIVED)
def test_each_statement_of_a_publish_survives(
    name: str, stack: Stack, settings: Settings, endpoint: Endpoint
) -> None:
    for fault in SURVIVED[name]:
        client.add_fault(endpoint, fault)
    watched = Watched(impatient(settings)())
    assert len(publish_to(stack, settings, lambda: watched).runs) == 7
    found = hits(endpoint)
    assert sum(found) >= len(watched.statements) >= 10, "not every statement was hit"
    assert max(found) - min(found) <= 1
    client.clear_faults(endpoint)
    assert_exactly_once(settings, stack)
    before = versions(settings)
    assert publish.publish(settings, stack).runs == ()
    assert versions(settings) == before


def test_no_answer_at_all_is_not_waited_for_for_ever(stack: Stack, settings: Settings, endpoint: Endpoint) -> None:
    client.add_fault(endpoint, Fault(Effect.HANG, seconds=200, every=5, times=2))
    started = time.monotonic()
    # Longer than any answer takes where five others work: what comes late is sent again.
    assert len(publish_to(stack, settings, impatient(settings, silence=5.0)).runs) == 7
    assert hits(endpoint) == [2]
    assert time.monotonic() - started < 180
    client.clear_faults(endpoint)
    assert_exactly_once(settings, stack)


@pytest.mark.parametrize("kind", [Kind.SESSION, Kind.RESULT])
def test_opening_a_session_and_fetching_rows_survive(kind: Kind, settings: Settings, endpoint: Endpoint) -> None:
    for effect in (Effect.STATUS, Effect.RESET, Effect.LOST, Effect.CUT):
        client.add_fault(endpoint, Fault(effect, kind))
    with Warehouse(find_target(settings), IMPATIENT) as warehouse:
        # More than comes with the first answer: the rest is fetched.
        rows = warehouse.query("SELECT id FROM range(250000)")
    assert sorted(rows["id"].to_pylist()) == list(range(250_000))
    assert hits(endpoint) == [1, 1, 1, 1]


def test_files_on_their_way_into_a_volume_survive(
    stack: Stack, settings: Settings, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dqctl.tables.shipment.INLINE_BYTES", 0)
    for effect in (Effect.STATUS, Effect.RESET, Effect.LOST, Effect.CUT):
        client.add_fault(endpoint, Fault(effect, Kind.FILE, "^PUT", times=2))
        client.add_fault(endpoint, Fault(effect, Kind.FILE, "^DELETE"))
    publish_to(stack, settings, impatient(settings))
    found = hits(endpoint)
    assert found[0::2] == [2, 2, 2, 2]
    # After a lost answer the file is gone: where there is one only, nobody asks a fourth time.
    assert found[1::2][:3] == [1, 1, 1]
    assert_exactly_once(settings, stack)
    assert settings.workspace
    assert [path for path in settings.workspace.rglob("*.parquet") if "tables" not in path.parts] == []


@pytest.mark.thorough(but="tables are there")
@pytest.mark.parametrize("ready", [False, True], ids=["no tables yet", "tables are there"])
def test_the_end_at_any_statement_leaves_what_the_next_publish_completes(
    ready: bool, stack: Stack, settings: Settings, endpoint: Endpoint
) -> None:
    if ready:
        tables.init(settings)
    ended: list[DqctlError] = []
    for position in itertools.count():
        # By turns: the token has expired; the statement is carried out before that; its result is too large.
        lost, full = position % 3 == 1, position % 3 == 2
        if lost:
            client.add_fault(endpoint, Fault(Effect.LOST, skip=position))
        end = Fault(Effect.ERROR, error_class="INTERNAL_ERROR", message=FULL) if full else Fault(Effect.EXPIRE)
        client.add_fault(endpoint, replace(end, skip=position, times=0))
        try:
            publish_to(stack, settings, impatient(settings))
        except (NotPublished, DatabricksRefused) as error:
            ended.append(error)
        else:
            break
        finally:
            client.clear_faults(endpoint)
    assert len(ended) >= 5
    assert {int(error.exit_code) for error in ended} == {5, 7}
    assert all("safe in TestGen's database" in error.hint and "publish --pending" in error.hint for error in ended)
    assert {error.message for error in ended if error.exit_code == 7} == {
        "127.0.0.1 refused the credentials (HTTP 403)"
    }
    publish.publish(settings, stack)
    assert_exactly_once(settings, stack)


def test_a_principal_whose_tokens_end_too_early_gets_new_ones(
    stack: Stack, settings: Settings, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", endpoint.proxy_url)
    monkeypatch.setenv("SSL_CERT_FILE", str(endpoint.ca_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(endpoint.ca_file))
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    target = Target(
        endpoint.host,
        endpoint.http_path,
        settings.catalog,
        settings.schema_name,
        principal(endpoint),
        place=str(endpoint.data_dir),
    )
    client.add_fault(endpoint, Fault(Effect.EXPIRE, every=6, times=0))
    client.add_fault(endpoint, Fault(Effect.RESET, Kind.SIGN_IN))
    assert len(publish_to(stack, settings, lambda: Warehouse(target, IMPATIENT)).runs) == 7
    expired, reset = hits(endpoint)
    assert expired >= 3
    assert reset == 1
    client.clear_faults(endpoint)
    assert_exactly_once(settings, stack)


def principal(endpoint: Endpoint) -> ServicePrincipal:
    found = json.loads(Tokens(endpoint.data_dir / "server").principal_file.read_text(encoding="utf-8"))
    return ServicePrincipal(found["client_id"], SecretStr(found["client_secret"]))


def at_once(*calls: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def go(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - of another thread, raised below
            failures.append(error)

    threads = [threading.Thread(target=go, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if failures:
        raise failures[0]


def test_two_publishers_who_conflict_all_the_time_both_succeed(
    make_stack: Callable[[], Stack], settings: Settings, endpoint: Endpoint
) -> None:
    client.add_fault(endpoint, CONFLICTS)
    client.add_fault(endpoint, Fault(Effect.LOST, matching="^INSERT", skip=1, every=7, times=0))
    one, two = (settings.model_copy(update={"stack": name}) for name in ("one", "two"))
    stacks = make_stack(), make_stack()
    at_once(
        lambda: publish_to(stacks[0], one, impatient(one)),
        lambda: publish_to(stacks[1], two, impatient(two)),
    )
    assert all(hits(endpoint))
    found = Counter((run["stack"], run["run_id"]) for run in published(settings, "dq_runs"))
    assert Counter(stack for stack, _ in found) == {"one": 7, "two": 7}
    assert set(found.values()) == {1}
    for table in records.RUN_CONTENT:
        keys = Counter(tuple(row[name] for name in table.key) for row in published(settings, table.name))
        assert set(keys.values()) <= {1}
        rows = Counter(row["stack"] for row in published(settings, table.name))
        assert rows["one"] == rows["two"]


def test_the_same_runs_published_twice_at_once_are_there_once(
    stack: Stack, settings: Settings, endpoint: Endpoint
) -> None:
    tables.init(settings)
    client.add_fault(endpoint, CONFLICTS)
    client.add_fault(endpoint, Fault(Effect.DELAY, matching="^INSERT", seconds=0.05, times=0))
    at_once(*[lambda: publish_to(stack, settings, impatient(settings))] * 2)
    assert_exactly_once(settings, stack)
    with stack.metadata() as connection:
        (recorded,) = connection.execute("SELECT count(*) FROM dqctl.published").fetchone() or (None,)
    assert recorded == 7
