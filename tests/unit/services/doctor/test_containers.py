from typing import Any

import pytest

from dqctl.services.doctor.containers import judge_container
from dqctl.services.doctor.findings import Verdict


def described(restarts: int = 0, **state: Any) -> dict[str, Any]:
    return {"Name": "/dqctl-a-engine-1", "State": state, "RestartCount": restarts}


def unhealthy(*log: dict[str, Any]) -> dict[str, Any]:
    return {"Status": "unhealthy", "FailingStreak": 3, "Log": list(log)}


@pytest.mark.parametrize(
    ("attrs", "verdict", "evidence", "fix"),
    [
        (described(Status="running"), Verdict.OK, "is running", ""),
        (described(Status="running", Health={"Status": "healthy"}), Verdict.OK, "running and healthy", ""),
        (described(Status="running", Health={"Status": "starting"}), Verdict.WARNING, "starting", "wait"),
        (described(3, Status="running"), Verdict.WARNING, "restarted 3 times", "dqctl logs engine"),
        (described(Status="paused"), Verdict.FAILED, "is paused", "docker unpause dqctl-a-engine-1"),
        (described(Status="exited", ExitCode=137, OOMKilled=True), Verdict.FAILED, "exit code 137, out of memory",
         "dqctl install"),
        (described(Status="created", ExitCode=128, Error="no such device"), Verdict.FAILED, "no such device",
         "dqctl install"),
        (described(Status="running", Health={"Status": "unhealthy", "FailingStreak": 0}), Verdict.WARNING,
         "was paused", "look again"),
        (described(Status="running", Health=unhealthy({"Output": "a\nrefused\n"})),
         Verdict.FAILED, "unhealthy: refused", "docker restart dqctl-a-engine-1"),
        (described(Status="running", Health=unhealthy()), Verdict.FAILED, "unhealthy", ""),
    ],
)  # fmt: skip
def test_the_state_of_a_container(attrs: dict[str, Any], verdict: Verdict, evidence: str, fix: str) -> None:
    found = judge_container(attrs, "dqctl install", "dqctl logs engine")
    assert found.verdict is verdict
    assert evidence in found.evidence
    assert fix in found.fix
