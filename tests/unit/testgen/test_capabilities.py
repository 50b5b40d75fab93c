import pytest

from dqctl.errors import UsageError
from dqctl.testgen.capabilities import KNOWN, capabilities


@pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.version)
def test_a_known_version_is_known_and_itself(entry):
    assert capabilities(entry.version) is entry
    assert entry.known


def test_a_newer_version_gets_the_newest_entry_and_is_not_known():
    found = capabilities("6.1.0")
    assert not found.known
    assert found.version == "6.1.0"
    assert found.schema_revision == KNOWN[0].schema_revision
    assert found.follow_up_jobs == KNOWN[0].follow_up_jobs


def test_a_version_between_two_gets_the_older_one():
    found = capabilities("5.100.0")
    assert not found.known
    assert found.monitor_column == "is_monitor"
    assert found.run_id_is_job_id


def test_versions_are_compared_as_numbers():
    assert capabilities("5.134.10").schema_revision == capabilities("5.134.0").schema_revision
    assert capabilities("5.92.10").schema_revision == capabilities("5.92.2").schema_revision


@pytest.mark.parametrize("version", ["2.24.8", "5.33.2", "5"])
def test_a_version_older_than_all_is_refused(version):
    with pytest.raises(UsageError, match="too old"):
        capabilities(version)


@pytest.mark.parametrize("version", ["", "latest", "5.134.0rc1", "v5"])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(UsageError, match="not a version"):
        capabilities(version)


def test_known_versions_stand_newest_first():
    revisions = [entry.schema_revision for entry in KNOWN]
    assert revisions == sorted(revisions, reverse=True)


@pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.version)
def test_no_status_is_both_active_and_final(entry):
    assert not set(entry.active_statuses) & set(entry.final_statuses)
