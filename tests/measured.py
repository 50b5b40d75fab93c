"""Numbers of a stack of which all is known, for what is made of them: rules, panels, documentation."""

from datetime import UTC, datetime, timedelta

from dqctl import records
from dqctl.report import controller
from dqctl.report.controller import Turning
from dqctl.report.metrics import Measures, Newest, Scheduled


def of_controller() -> str:
    """What a controller adds of itself; it stands still."""
    then = datetime.now(UTC) - timedelta(hours=1)
    return controller.exposition(Turning("full", True, True, then, 5, {"publish": 3}))


def everything() -> Measures:
    """A stack of which all is known, and none of it good."""
    now = datetime.now(UTC)
    row = dict.fromkeys((column.name for column in records.RUNS.columns), None)
    outcomes = {f"{outcome}_ct": 1 for outcome in ("passed", "failed", "warning", "error", "log")}
    about = {"system": "shop", "table_group": "tables", "ended_at": now, "seconds": 4.5, "dq_score": 0.75}
    test = {**row, **about, **outcomes, "kind": "test", "status": "error", "test_suite": "night"}
    profile = {**row, **about, "kind": "profile", "status": "completed", "anomaly_ct": 3, "column_error_ct": 1}
    return Measures(
        "full", now, "0.1.0", "5.134.0", "docker",
        up=True, changing_version=True, newest_backup=now - timedelta(days=9),
        schedules=(Scheduled("night", now - timedelta(hours=2), 7),),
        newest=(Newest(test, now - timedelta(days=9)), Newest(profile, now)), underway={"test": 1},
        unpublished=2, unpublished_since=now - timedelta(hours=5),
        state_saved=now - timedelta(hours=30), unsaved=4,
    )  # fmt: skip
