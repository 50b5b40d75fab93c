"""The saved state, as far as it can be told without a warehouse."""

from datetime import UTC, datetime

from dqctl.services import state
from dqctl.services.doctor.findings import Finding, check, ok, skipped, warning
from dqctl.services.doctor.subject import Subject
from dqctl.services.target import why_off

# Every command that changes something saves: what is older was changed by somebody else, or could not be saved.
_OLD_SECONDS = 24 * 3600.0
_LATE = "it hangs, or is stopped (kill -STOP): see dqctl logs postgres"


@check("state.saved", seconds=3.0, needs=("metadata.revision",), late=_LATE)
def saved(subject: Subject) -> Finding:
    """Whether TestGen's metadata is saved in Databricks, and all of it."""
    runtime = subject.runtime
    if off := why_off(subject.settings, runtime.record):
        return skipped(f"no state is saved: {off}")
    with runtime.metadata() as connection:
        found = state.status_of(subject.settings, runtime, connection)
    save = subject.command("state", "save")
    if found.saved_at is None:
        return warning("TestGen's metadata was never saved in Databricks", save)
    evidence = f"commit {found.seq} of {found.saved_at:%Y-%m-%d %H:%M} UTC in {found.target}"
    if found.interrupted:
        return warning(f"{evidence}; a save after it was interrupted", save)
    if not found.is_captured:
        return warning(f"{evidence}; changes of some tables are not written down", save)
    evidence = f"{evidence}; {found.unsaved} rows came or went since"
    age = (datetime.now(UTC) - found.saved_at).total_seconds()
    return warning(evidence, save) if found.unsaved and age > _OLD_SECONDS else ok(evidence)


CHECKS = (saved,)
