"""What answers of a workspace mean that no check is about."""

from dqctl.databricks.rest import Answer
from dqctl.services.doctor.findings import Finding, skipped

REST_SECONDS = 4.0  # for a check that asks once or twice; a host that is not there is noticed before
_NOT_HERE = 501


def user_name(me: Answer) -> str:
    """Who the workspace says that we are."""
    return str(me.document.get("userName") or me.document.get("displayName") or "somebody")


def not_told(answer: Answer, by_hand: str = "") -> Finding:
    """No finding: the local workspace does not have it, or somebody else would have to ask."""
    if answer.status == _NOT_HERE:
        return skipped("the local workspace does not have this")
    return skipped(f"unknown: {answer.reason}", by_hand)
