"""The statements that settle jobs, version by version."""

from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.settling import statements


def test_the_first_statement_only_asks_for_the_cancellation():
    first, second, *_ = statements(capabilities("5.134.0"))
    assert "SET status = 'cancel_requested'" in first
    assert "SET status = 'canceled'" in second


def test_only_the_newest_bills_the_seconds_that_a_job_worked():
    assert "active_seconds" in statements(capabilities("5.134.0"))[0]
    assert "active_seconds" not in statements(capabilities("5.92.2"))[0]


def test_runs_are_settled_where_they_have_a_status_of_their_own():
    old = statements(capabilities("5.33.3"))
    assert [text.split()[1] for text in old[3:]] == ["profiling_runs", "test_runs"]
    assert "profiling_endtime = now()" in old[3]
    assert "test_endtime = now()" in old[4]
    assert len(statements(capabilities("5.92.2"))) == 3


def test_parked_jobs_are_left_to_who_parked_them():
    for status in ("paused", "interrupted", "queued"):
        assert f"'{status}'" not in statements(capabilities("5.134.0"))[0]
