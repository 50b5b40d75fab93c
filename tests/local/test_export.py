"""Results into a receiver as strict as DataOps Observability: what stock TestGen sends, and what it does not."""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from command_line import CommandLine
from dqctl.clock import Deadline
from dqctl.errors import ExitCode, MissingSetting, NotPublished, UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services.export import Destination, Selection, export, preview
from dqctl.services.export_runs import hand_over_after
from dqctl.services.exporting import Doubtful
from dqctl.settings import Settings
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.exports import Exports
from observability_receiver import (
    KEY,
    Made,
    Receiver,
    all_types,
    answering,
    cut_off,
    held,
    make_results,
    make_run,
    receiving,
)
from sidecar import Sidecar, within

pytestmark = pytest.mark.local

OBSERVABILITY = Destination("observability")
VERSIONS = ("5.134.0", "5.92.2", "5.33.3")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stacks(copied_stack: Callable[[str], Settings]) -> Callable[[str], Settings]:
    """An installed stack of each version, made when first asked for."""
    made: dict[str, Settings] = {}

    def of(version: str) -> Settings:
        if version not in made:
            made[version] = copied_stack(version)
        return made[version]

    return of


@pytest.fixture
def settings(stacks: Callable[[str], Settings], receiver: Receiver) -> Settings:
    """A stack in which nothing waits, exporting to the receiver."""
    return aimed(stacks(VERSIONS[0]), receiver)


@pytest.fixture
def runtime(settings: Settings) -> LocalRuntime:
    return cleared(settings)


def cleared(settings: Settings) -> LocalRuntime:
    """The stack without anything that waits or is in doubt."""
    runtime = open_runtime(settings, silent)
    with runtime.metadata() as connection:
        connection.execute("UPDATE test_results SET observability_status = 'Sent'")
        connection.execute("DROP TABLE IF EXISTS dqctl.exports")
    return runtime


def aimed(settings: Settings, receiver: Receiver, **more: object) -> Settings:
    return Settings(
        **{
            **settings.model_dump(exclude_unset=True),
            "observability_url": receiver.url,
            "observability_key": KEY,
            "export_timeout": 20,
            **more,
        }
    )


def add(runtime: LocalRuntime, suite: str, tests: int = 400) -> Made:
    """A suite of ``tests`` tests and a run of it, whose results come to several requests."""
    with runtime.metadata() as connection:
        return make_results(connection, suite, ["Row_Ct"], tests)


def statuses(runtime: LocalRuntime, made: Made) -> Counter[str]:
    with runtime.metadata() as connection:
        return Counter(
            row[0]
            for row in connection.execute(
                "SELECT observability_status FROM test_results WHERE test_suite_id = %s", (made.suite_id,)
            ).fetchall()
        )


def once(receiver: Receiver, results: int) -> bool:
    """Whether the receiver has so many results, each of them once."""
    return len(receiver.keys) == results and set(receiver.keys.values()) == {1}


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", VERSIONS)
def test_what_stock_testgen_sends_is_sent_alike_and_the_types_that_it_never_sends_too(
    stacks: Callable[[str], Settings], version: str
) -> None:
    stack = stacks(version)
    runtime = cleared(stack)
    with receiving() as stock, receiving() as ours, runtime.metadata() as connection:
        types = all_types(connection)
        made = make_results(connection, "all-types", types, own_id=version != "5.33.3")
        queries = {
            row[0]
            for row in connection.execute("SELECT test_type FROM test_types WHERE run_type <> 'CAT'").fetchall()
        }
        if version == VERSIONS[0]:
            assert (len(types), len(queries)) == (89, 20)
        connection.execute(
            "UPDATE projects SET observability_api_url = %s, observability_api_key = %s", (stock.url, KEY)
        )
        connection.commit()
        done = runtime.run(
            ["export-observability", "-pk", "DEFAULT", "-ts", "all-types"],
            deadline=Deadline(120),
            environment={"no_proxy": "127.0.0.1"},
        )
        assert done.exit_code == 0, done
        assert statuses(runtime, made) == {"Sent": len(types) - len(queries), "Queued": len(queries)}
        connection.execute(
            "UPDATE test_results SET observability_status = 'Queued' WHERE test_suite_id = %s", (made.suite_id,)
        )
        connection.commit()
        report = export(aimed(stack, ours), OBSERVABILITY)
        assert (report.exit_code, [run.results for run in report.runs]) == (ExitCode.DONE, [len(types)])
        assert statuses(runtime, made) == {"Sent": len(types)}
        assert once(ours, len(types))
        mine = {outcome["key"]: outcome for outcome in ours.outcomes}
        theirs = {outcome["key"]: outcome for outcome in stock.outcomes}
        assert len(theirs) == len(types) - len(queries)
        assert {key: mine[key] for key in theirs} == theirs
        assert [envelope(each.body) for each in ours.taken[:1]] == [
            envelope(each.body) for each in stock.taken[:1]
        ]
        # Byte by byte but for the order of results and the time: what both send of one result.
        assert list(ours.taken[0].document) == list(stock.taken[0].document)
        assert list(ours.outcomes[0]) == list(stock.outcomes[0])
        for name in ("content-type", "serviceaccountauthenticationkey"):
            assert ours.taken[0].headers[name] == stock.taken[0].headers[name]
        # Nothing is left for stock TestGen, and nothing for us.
        again = runtime.run(["export-observability", "-pk", "DEFAULT", "-ts", "all-types"], deadline=Deadline(120))
        assert (again.exit_code, once(stock, len(theirs))) == (0, True)
        assert not export(aimed(stack, ours), OBSERVABILITY).runs


def envelope(body: bytes) -> dict[str, Any]:
    document = json.loads(body)
    del document["test_outcomes"], document["event_timestamp"]
    assert isinstance(document, dict)
    return document


def test_results_whose_test_is_gone_errored_or_measured_no_number_are_taken(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    with runtime.metadata() as connection:
        made = make_results(connection, "odd", ["Row_Ct", "Schema_Drift", "Min_Date", "CUSTOM"])
        for change in (
            "result_status = 'Error', result_measure = NULL, result_message = '' WHERE test_type = 'CUSTOM'",
            "result_status = 'Log', result_measure = '2026-01-01', column_names = '' WHERE test_type = 'Min_Date'",
            "table_name = NULL, input_parameters = '=x' WHERE test_type = 'Schema_Drift'",
            "result_message = repeat('é', 40000), result_measure = '1e30' WHERE test_type = 'Row_Ct'",
        ):
            connection.execute(
                f"UPDATE test_results SET {change} AND test_suite_id = %s".encode(), (made.suite_id,)
            )
        connection.execute("DELETE FROM test_definitions WHERE test_suite_id = %s", (made.suite_id,))
        connection.execute("UPDATE table_groups SET profiling_exclude_mask = '', profiling_include_mask = ''")
    report = export(settings, OBSERVABILITY)
    assert (report.exit_code, once(receiver, 4)) == (ExitCode.DONE, True)
    found = {outcome["type"]: (outcome["status"], outcome["metadata"]) for outcome in receiver.outcomes}
    assert sorted(found.values(), key=str).count(("FAILED", {"testgen_status": "Error"})) == 1
    assert list(found.values()).count(("PASSED", {"testgen_status": "Log"})) == 1


def of_projects(runtime: LocalRuntime, url: str, key: str | None) -> None:
    """What TestGen's projects themselves say of a receiver."""
    with runtime.metadata() as connection:
        connection.execute(
            "UPDATE projects SET observability_api_url = %s, observability_api_key = %s", (url, key)
        )


def test_an_export_is_chosen_previewed_and_done_by_the_command(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver, tmp_path: Path
) -> None:
    made, other = add(runtime, "chosen", 20), add(runtime, "other", 3)
    of_projects(runtime, "", None)
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    command = CommandLine(settings.home, {"DQCTL_OBSERVABILITY_KEY_FILE": str(key)})
    missing = command("export", code=2).err
    assert "DQCTL_OBSERVABILITY_URL" in missing
    assert "the project's settings in TestGen" in missing
    keyless = CommandLine(settings.home)
    assert "DQCTL_OBSERVABILITY_KEY" in keyless("export", "chos*", "--url", receiver.url, code=2).err
    previewed = keyless.document("export", "chos*", "--url", receiver.url, "--dry-run", "--show")
    assert [(run["run_id"], run["results"], run["requests"]) for run in previewed["runs"]] == [
        (made.run_id, 20, 1)
    ]
    assert len(previewed["request"]["test_outcomes"]) == 20
    assert not receiver.seen
    said = command("export", "--run", other.run_id[:8], "--url", receiver.url)
    assert f"3 results exported to {receiver.url}" in said.out
    assert KEY not in said.everything
    later = command("export", "--since", "2099-01-01", "--url", receiver.url)
    assert "nothing is waiting" in later.out
    assert command.document("export", "DEFAULT/chosen", "--url", receiver.url)["outcome"] == "done"
    assert once(receiver, 23)
    assert "there is no suite" in command("export", "chosne", "--url", receiver.url, code=2).err


def test_projects_say_where_to_unless_settings_do(
    stacks: Callable[[str], Settings], runtime: LocalRuntime, receiver: Receiver
) -> None:
    stack = stacks(VERSIONS[0])
    add(runtime, "of-the-project", 3)
    of_projects(runtime, "", None)
    with pytest.raises(MissingSetting):
        export(stack, OBSERVABILITY)
    of_projects(runtime, receiver.url, KEY)
    assert export(stack, OBSERVABILITY).exit_code is ExitCode.DONE
    assert once(receiver, 3)


def test_what_was_refused_for_a_while_is_sent_again_once(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    add(runtime, "busy")
    receiver.faults = {
        0: answering(429, Retry_After="1"),
        1: answering(503),
        3: answering(500, {"error": "An error has occurred; event could not be processed"}),
    }
    report = export(settings, OBSERVABILITY)
    assert (report.exit_code, once(receiver, 400)) == (ExitCode.DONE, True)
    assert len(receiver.seen) == len(receiver.taken) + 3


def test_what_is_refused_for_too_long_waits_and_goes_on_later(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    made = add(runtime, "down")
    receiver.faults = {1: answering(503, Retry_After="3600")}
    report = export(settings, OBSERVABILITY)
    assert (report.exit_code, len(receiver.taken)) == (ExitCode.NOT_PUBLISHED, 1)
    assert "HTTP 503" in report.errors[0].message
    assert not report.doubts
    first = report.runs[0].results
    assert statuses(runtime, made) == {"Sent": first, "Queued": 400 - first}
    assert export(settings, OBSERVABILITY).exit_code is ExitCode.DONE
    assert once(receiver, 400)


@pytest.mark.parametrize("taken", [True, False])
def test_an_answer_that_is_lost_leaves_a_doubt_that_a_person_decides(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver, taken: bool
) -> None:
    made = add(runtime, f"lost-{taken}")
    receiver.faults = {1: cut_off(taken=taken)}
    report = export(settings, OBSERVABILITY)
    assert report.exit_code is ExitCode.NOT_PUBLISHED
    (doubt,) = report.doubts
    assert doubt.run_id == made.run_id
    assert str(len(doubt.results)) in report.errors[-1].message
    assert len(receiver.seen) == 2, "what follows a lost answer is not put in doubt"
    # Everything else goes on; neither we nor stock TestGen send what is in doubt.
    again = export(settings, OBSERVABILITY)
    assert (again.exit_code, again.doubts) == (ExitCode.NOT_PUBLISHED, report.doubts)
    assert preview(settings, OBSERVABILITY).doubts == report.doubts
    assert statuses(runtime, made) == {"Sent": 400}
    assert sum(receiver.keys.values()) == 400 - (0 if taken else len(doubt.results))
    decision = Doubtful.ASSUME_DELIVERED if taken else Doubtful.RESEND
    assert export(settings, OBSERVABILITY, doubtful=decision).exit_code is ExitCode.DONE
    assert once(receiver, 400)
    assert export(settings, OBSERVABILITY).exit_code is ExitCode.DONE


def test_an_answer_that_takes_too_long_is_in_doubt_not_sent_again(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    add(runtime, "slow", 10)
    receiver.faults = {0: held}
    report = export(settings.model_copy(update={"export_timeout": 1.0}), OBSERVABILITY)
    assert [len(doubt.results) for doubt in report.doubts] == [10]
    assert len(receiver.seen) == 1


def test_a_gateway_that_gave_up_leaves_a_doubt(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    add(runtime, "gateway", 10)
    receiver.faults = {0: answering(504)}
    assert len(export(settings, OBSERVABILITY).doubts) == 1


def test_killed_while_a_request_is_under_way_the_next_one_goes_on(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    made = add(runtime, "killed")
    receiver.faults = {1: held}
    command = CommandLine(settings.home, {"DQCTL_OBSERVABILITY_URL": receiver.url, "DQCTL_OBSERVABILITY_KEY": KEY})
    process = command.start("export")
    assert receiver.came.wait(120), process.end(10)
    busy = command("export", code=6).err
    assert "busy" in busy
    process.signal(signal.SIGKILL)
    process.end(60)
    receiver.go_on.set()
    said = command.document("export", "--wait", 60, code=5)
    assert [doubt["run_id"] for doubt in said["doubts"]] == [made.run_id]
    assert said["error"]["message"].startswith(f"{len(said['doubts'][0]['results'])} results in 1 request may")
    assert once(receiver, 400)
    command("export", "--assume-delivered")
    assert once(receiver, 400)


def test_a_result_that_is_refused_keeps_no_other_from_being_sent(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    made = add(runtime, "picky", 30)
    with runtime.metadata() as connection:
        found = connection.execute(
            "SELECT id::text, test_definition_id::text FROM test_results WHERE test_run_id = %s LIMIT 1",
            (made.run_id,),
        ).fetchone()
    assert found
    receiver.dislikes = found[1]
    report = export(settings, OBSERVABILITY)
    assert (report.exit_code, list(report.refused)) == (ExitCode.NOT_PUBLISHED, [found[0]])
    assert once(receiver, 29)
    assert statuses(runtime, made) == {"Sent": 29, "Queued": 1}
    assert not report.doubts


@pytest.mark.parametrize(
    ("place", "fault", "says"),
    [
        (0, answering(401), "the key is refused"),
        (1, answering(403), "the key is refused"),
        (2, answering(404), "is not where Observability takes events"),
        (3, answering(302, Location="/elsewhere"), "HTTP 302"),
        (4, answering(400, {"error": "Invalid request: {'dataset_key': ['too long']}"}), "dataset_key"),
    ],
)
def test_what_a_person_has_to_mend_is_said_and_nothing_is_lost(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver, place: int, fault: Any, says: str
) -> None:
    made = add(runtime, f"wrong-{place}", 3)
    receiver.faults = {0: fault}
    (error,) = export(settings, OBSERVABILITY).errors
    assert isinstance(error, UsageError)
    assert says in f"{error.message} {error.hint}"
    assert len(receiver.seen) == 1
    assert statuses(runtime, made) == {"Queued": 3}


def test_nobody_there_is_no_doubt(settings: Settings, runtime: LocalRuntime) -> None:
    made = add(runtime, "nobody", 3)
    nowhere = settings.model_copy(update={"observability_url": "http://127.0.0.1:1/api", "export_timeout": 0.2})
    report = export(nowhere, OBSERVABILITY)
    assert (report.exit_code, report.doubts) == (ExitCode.NOT_PUBLISHED, ())
    assert statuses(runtime, made) == {"Queued": 3}


def test_results_that_another_export_takes_meanwhile_are_left_to_it(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    made = add(runtime, "shared", 400)

    def takes_some(handler: Any, request: Any) -> bool:
        with runtime.metadata() as connection:
            connection.execute(
                "UPDATE test_results SET observability_status = 'Sent' WHERE test_run_id = %s AND id ="
                " (SELECT max(id::text)::uuid FROM test_results WHERE observability_status = 'Queued')",
                (made.run_id,),
            )
        return True

    receiver.faults = {0: takes_some}
    assert export(settings, OBSERVABILITY).exit_code is ExitCode.DONE
    assert once(receiver, 399)


def test_runs_are_exported_once_each_and_what_is_known_of_gone_ones_is_forgotten(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    made = add(runtime, "nightly", 5)
    assert export(settings, OBSERVABILITY).exit_code is ExitCode.DONE
    with runtime.metadata() as connection:
        second = make_run(connection, made.suite_id)
        connection.execute("DELETE FROM test_results WHERE test_run_id = %s", (made.run_id,))
        connection.execute("DELETE FROM test_runs WHERE id = %s", (made.run_id,))
        connection.execute("DELETE FROM job_executions WHERE id = %s", (made.run_id,))
    report = export(settings, OBSERVABILITY, Selection(suites=["nightly"]))
    assert [run.run_id for run in report.runs] == [second]
    assert set(receiver.keys.values()) == {2}
    with runtime.metadata() as connection:
        rows = connection.execute("SELECT run_id::text, sent_at IS NOT NULL FROM dqctl.exports").fetchall()
    assert rows == [(second, True)]


_PROFILE = """
    WITH j AS (INSERT INTO job_executions (id, project_code, job_key, kwargs, source, status, started_at,
                                           completed_at)
               VALUES (gen_random_uuid(), 'DEFAULT', 'run-profile', '{}', 'cli', 'completed', now(), now())
               RETURNING id),
         s AS (SELECT connection_id, table_groups_id FROM test_suites WHERE id = %s),
         p AS (INSERT INTO profiling_runs (id, project_code, connection_id, table_groups_id)
               SELECT j.id, 'DEFAULT', s.connection_id, s.table_groups_id FROM j, s RETURNING id)
    INSERT INTO profile_results (project_code, table_groups_id, profile_run_id, schema_name, table_name,
                                 column_name, position, record_ct, value_ct, null_value_ct, distinct_value_ct,
                                 max_value)
    SELECT 'DEFAULT', s.table_groups_id, p.id, 'sales', 'orders', 'amount', 1, 100, 90, 10, 80, 4711 FROM p, s
    RETURNING profile_run_id::text
"""


def test_a_suite_without_a_table_group_keeps_no_other_from_being_sent(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    lost = add(runtime, "no-group", 3)
    add(runtime, "beside-no-group", 4)
    with runtime.metadata() as connection:
        connection.execute("UPDATE test_suites SET table_groups_id = NULL WHERE id = %s", (lost.suite_id,))
    assert export(settings, OBSERVABILITY).exit_code is ExitCode.DONE
    assert once(receiver, 4)
    assert statuses(runtime, lost) == {"Queued": 3}


def test_runs_become_openlineage_events_in_a_file_once_each(
    settings: Settings, runtime: LocalRuntime, tmp_path: Path
) -> None:
    made = add(runtime, "lineage", 3)
    with runtime.metadata() as connection:
        found = connection.execute(_PROFILE, (made.suite_id,)).fetchone()
    assert found
    file = tmp_path / "events.jsonl"
    command = CommandLine(settings.home, {})
    assert "OPENLINEAGE_URL" in command("export", "--to", "openlineage", code=2).err
    runs = ("--run", made.run_id, "--run", found[0])
    said = command("export", "--to", "openlineage", "--file", file, *runs)
    assert f"4 results exported to {file}" in said.out
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(event["run"]["runId"], event["eventType"]) for event in events] == [
        (made.run_id, "START"),
        (made.run_id, "COMPLETE"),
        (found[0], "START"),
        (found[0], "COMPLETE"),
    ]
    tested, profiled = events[1], events[3]
    assert {dataset["namespace"] for dataset in tested["inputs"]} == {"postgres://db.example.com:5432"}
    assert [dataset["name"] for dataset in profiled["inputs"]] == ["shop.sales.orders"]
    assert "4711" not in json.dumps(profiled)
    assert statuses(runtime, made) == {"Queued": 3}, "for Observability they wait all the same"
    assert "nothing is waiting" in command("export", "--to", "openlineage", "--file", file, *runs).out
    assert len(file.read_text().splitlines()) == 4


def test_openlineage_events_go_to_a_server_that_may_be_away_for_a_while(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    made = add(runtime, "served", 3)
    receiver.is_strict, receiver.path = False, "/api/v1/lineage"
    url = receiver.url.removesuffix("/api")
    key = "ol-key-4711-0815-served"
    command = CommandLine(settings.home, {"OPENLINEAGE_URL": url, "OPENLINEAGE_API_KEY": key})
    receiver.faults = {1: answering(400)}
    failed = command("export", "served", "--to", "openlineage", code=5)
    assert "run the same command again" in failed.err
    assert key not in failed.everything
    command("export", "served", "--to", "openlineage")
    events = [request.document for request in receiver.taken]
    # The first event came twice, which is the same event of the same run.
    assert [event["eventType"] for event in events] == ["START", "START", "COMPLETE"]
    assert events[0] == events[1]
    assert {event["run"]["runId"] for event in events} == {made.run_id}
    assert {request.headers["authorization"] for request in receiver.taken} == {f"Bearer {key}"}
    assert "nothing is waiting" in command("export", "served", "--to", "openlineage").out
    command("export", "--to", "openlineage", "--resend-doubtful", code=2)


@hypothesis_settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["claim", "sent", "release", "stock"]), st.integers(0, 63)), max_size=12
    )
)
def test_a_result_waits_or_travels_in_one_request_whatever_happens(
    runtime: LocalRuntime, steps: list[tuple[str, int]]
) -> None:
    with runtime.metadata() as connection:
        made = make_results(connection, f"steps-{uuid4()}", ["Row_Ct"], 6)
        exports = Exports(connection, capabilities(runtime.version))
        exports.ensure()
        ids = [
            row[0]
            for row in connection.execute(
                "SELECT id::text FROM test_results WHERE test_run_id = %s ORDER BY id", (made.run_id,)
            ).fetchall()
        ]
        connection.rollback()
        waits, travels, there = set(ids), dict[str, frozenset[str]](), set[str]()
        for step, number in steps:
            chosen = frozenset(each for place, each in enumerate(ids) if number >> place & 1)
            request = sorted(travels)[number % len(travels)] if travels else None
            if step == "claim" and chosen:
                claimed = exports.claim("somewhere", made.run_id, sorted(chosen), "0")
                assert (claimed is None) == (not chosen <= waits)
                if claimed:
                    travels[claimed] = chosen
                    waits -= chosen
            elif step == "sent" and request:
                exports.sent(request)
                there |= travels.pop(request)
            elif step == "release" and request:
                exports.release(request)
                waits |= travels.pop(request)
            elif step == "stock":
                with connection.transaction():
                    connection.execute(
                        "UPDATE test_results SET observability_status = 'Sent' WHERE test_run_id = %s"
                        " AND observability_status = 'Queued' AND id = ANY(%s::uuid[])",
                        (made.run_id, list(chosen)),
                    )
                there |= chosen & waits
                waits -= chosen
            queued = connection.execute(
                "SELECT id::text FROM test_results WHERE test_run_id = %s AND observability_status = 'Queued'",
                (made.run_id,),
            ).fetchall()
            connection.rollback()
            assert {row[0] for row in queued} == waits
            doubts = {
                doubt.id: frozenset(doubt.results) for doubt in exports.doubts() if doubt.run_id == made.run_id
            }
            assert doubts == travels
            assert sorted([*waits, *there, *(each for some in travels.values() for each in some)]) == ids


def test_what_is_tested_is_exported_after_it_is_published_where_that_is_set(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    assert hand_over_after(settings, runtime) is None
    wanted = aimed(settings, receiver, export="observability", export_timeout=2)
    made = add(runtime, "after-the-night", 30)
    receiver.faults = dict.fromkeys(range(100), answering(503))
    refused = hand_over_after(wanted, runtime)
    assert refused
    assert [error.exit_code for error in refused.errors] == [ExitCode.NOT_PUBLISHED]
    assert statuses(runtime, made) == {"Queued": 30}
    receiver.faults = {}
    done = hand_over_after(wanted, runtime)
    assert done
    assert (done.exit_code, [run.results for run in done.runs]) == (ExitCode.DONE, [30])
    assert once(receiver, 30)
    # What nobody says where to is no reason to lose what else the night found.
    of_projects(runtime, "", None)
    nowhere = hand_over_after(wanted.model_copy(update={"observability_key": None}), runtime)
    assert nowhere
    (error,) = nowhere.errors
    assert isinstance(error, NotPublished)
    assert "no observability key is set" in error.message


def test_a_command_exports_and_says_so_with_its_exit_code(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    made = add(runtime, "by-command", 10)
    environment = {
        "DQCTL_EXPORT": "observability", "DQCTL_OBSERVABILITY_URL": receiver.url,
        "DQCTL_OBSERVABILITY_KEY": KEY, "DQCTL_EXPORT_TIMEOUT": "2",
    }  # fmt: skip
    command = CommandLine(settings.home, environment)
    # Nothing says where results are published to here: that is 5 already, and keeps nothing from being exported.
    said = command.document("run-tests", "by-command", code=None)
    assert said["exported"]["to"] == "observability"
    assert sum(run["results"] for run in said["exported"]["runs"]) >= 10
    assert statuses(runtime, made)["Queued"] == 0


def test_the_sidecar_exports_what_waits_and_goes_on_where_the_receiver_was_away(
    settings: Settings, runtime: LocalRuntime, receiver: Receiver
) -> None:
    environment = {
        "DQCTL_EXPORT": "observability", "DQCTL_OBSERVABILITY_URL": receiver.url,
        "DQCTL_OBSERVABILITY_KEY": KEY, "DQCTL_EXPORT_TIMEOUT": "1",
    }  # fmt: skip
    sidecar = Sidecar(CommandLine(settings.home, environment)).settled()
    try:
        receiver.faults = dict.fromkeys(range(100), answering(503))
        made = add(runtime, "by-sidecar", 20)
        within(lambda: "the export has stopped" in str(sidecar.ready()["troubles"]))
        assert statuses(runtime, made)["Sent"] == 0
        receiver.faults = {}
        within(lambda: statuses(runtime, made) == {"Sent": 20})
        within(lambda: sidecar.ready()["status"] == 200)
        assert once(receiver, 20)
    finally:
        assert sidecar.end().code == 0
