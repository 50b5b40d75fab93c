"""What Prometheus reads: parsed back by its own client, whatever things are called."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dqctl import records
from dqctl.report.metrics import Measures, Newest, Scheduled, exposition

AT = datetime(2026, 1, 31, 8, 0, 0, 250_000, tzinfo=UTC)
DOWN = Measures("lab", AT, "0.1.0", "5.134.0", "local", up=False, changing_version=False)


def run(**values: Any) -> Newest:
    row = {column.name: None for column in records.RUNS.columns}
    return Newest(row | {"kind": "test", "status": "completed"} | values, values.get("ended_at"))


def parsed(measures: Measures) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(exposition(measures)):
        assert family.documentation.endswith((".", "0 to 1."))
        for sample in family.samples:
            assert sample.labels["stack"] == "lab"
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_stack_that_is_down_says_so_and_nothing_that_is_not_known() -> None:
    found = parsed(DOWN)
    assert set(found) == {
        "dqctl_info", "dqctl_up", "dqctl_metadata_asleep", "dqctl_collected_timestamp_seconds",
        "dqctl_version_change_under_way",
    }  # fmt: skip
    assert found["dqctl_up"][0][1] == found["dqctl_metadata_asleep"][0][1] == 0
    assert found["dqctl_collected_timestamp_seconds"][0][1] == AT.timestamp()
    assert found["dqctl_info"][0][0]["testgen_version"] == "5.134.0"


def test_every_name_comes_back_as_it_is() -> None:
    name = 'a "quoted" \\ name\nin two lines, {ü}=1'
    found = parsed(replace(DOWN, up=True, newest=(run(system=name, test_suite=name, ended_at=AT, passed_ct=3),)))
    labels, value = found["dqctl_run_results"][0]
    assert (labels["system"], labels["suite"], labels["table_group"], labels["status"]) == (
        name,
        name,
        "",
        "passed",
    )
    assert value == 3
    assert len(found["dqctl_run_results"]) == 1, "what was not counted is not zero"


def test_a_run_that_failed_after_one_that_did_not_tells_both() -> None:
    failed = Newest(run(status="error", ended_at=AT, seconds=1.5).run, datetime(2026, 1, 30, tzinfo=UTC))
    found = parsed(replace(DOWN, up=True, newest=(failed,)))
    assert found["dqctl_run_completed"][0][1] == 0
    assert found["dqctl_run_timestamp_seconds"][0][1] == AT.timestamp()
    assert found["dqctl_run_success_timestamp_seconds"][0][1] == AT.timestamp() - (32 * 3600 + 0.25)
    assert found["dqctl_run_duration_seconds"][0][1] == 1.5


def test_a_time_without_a_zone_is_utc() -> None:
    found = parsed(replace(DOWN, up=True, unpublished=2, unpublished_since=AT.replace(tzinfo=None)))
    assert found["dqctl_unpublished_since_timestamp_seconds"][0][1] == AT.timestamp()
    assert found["dqctl_unpublished_runs"][0][1] == 2


def test_kinds_that_do_not_run_are_zero_so_that_an_alert_can_end() -> None:
    found = parsed(replace(DOWN, up=True, underway={"test": 2}))
    assert {labels["kind"]: value for labels, value in found["dqctl_runs_in_progress"]} == {
        "profile": 0, "generate": 0, "test": 2,
    }  # fmt: skip


def test_how_schedules_ended_is_known_of_a_stack_that_is_down() -> None:
    ended = (Scheduled("night", AT, 7), Scheduled("hourly", AT, -15))
    found = parsed(replace(DOWN, schedules=ended))
    assert {labels["schedule"]: value for labels, value in found["dqctl_schedule_exit_code"]} == {
        "night": 7, "hourly": -15,
    }  # fmt: skip
    assert found["dqctl_schedule_timestamp_seconds"][0][1] == AT.timestamp()
