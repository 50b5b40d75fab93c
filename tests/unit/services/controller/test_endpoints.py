"""What the sidecar answers, and when it says that it is not well."""

import contextlib
import http.client
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dqctl.clock import Clock
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.report.metrics import Measures
from dqctl.services.controller.endpoints import Endpoints, address
from dqctl.services.controller.standing import Standing

MEASURES = Measures(
    "default", datetime(2026, 3, 2, tzinfo=UTC), "1", "5.134.0", "local", True, False, unpublished=3
)


class Stack:
    """A stack whose numbers can be asked for, and how often they were."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.clock = Clock(monotonic=lambda: self.seconds)
        self.standing = Standing("default", self.clock)
        self.standing.is_leading = True
        self.asked = 0
        self.fault: Exception | None = None
        self.endpoints = Endpoints("127.0.0.1:0", self.standing, self.measure, self.clock)

    def measure(self) -> Measures:
        self.asked += 1
        if self.fault:
            raise self.fault
        return replace(MEASURES, unpublished=self.asked)

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.endpoints.port, 60)) as client:
            client.request(method, path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def series(self) -> dict[str, float]:
        text = self.get("/metrics")[1]
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def stack() -> Stack:
    return Stack()


def test_several_who_ask_at_once_cost_one_look(stack: Stack) -> None:
    assert stack.series()["dqctl_unpublished_runs"] == 1
    assert stack.series()["dqctl_unpublished_runs"] == 1
    stack.seconds += 5
    assert stack.series()["dqctl_unpublished_runs"] == 2
    assert stack.asked == 2


def test_what_cannot_be_read_is_no_series_and_no_old_one(stack: Stack) -> None:
    assert "dqctl_unpublished_runs" in stack.series()
    stack.fault = EnvironmentFault("gone", "")
    stack.seconds += 5
    found = stack.series()
    assert "dqctl_unpublished_runs" not in found
    assert found["dqctl_controller_leader"] == 1


def test_one_that_waits_is_ready_and_has_no_numbers_of_the_stack(stack: Stack) -> None:
    stack.standing.is_leading = False
    stack.standing.leader = "process 7"
    assert stack.get("/readyz")[0] == 200
    found = stack.series()
    assert found["dqctl_controller_leader"] == 0
    assert "dqctl_up" not in found
    assert stack.asked == 0


def test_a_loop_that_stands_still_is_not_healthy(stack: Stack) -> None:
    stack.standing.turn()
    assert stack.get("/healthz")[0] == 200
    stack.seconds += 121
    assert stack.get("/healthz")[0] == stack.get("/readyz")[0] == 503


def test_what_is_in_the_way_makes_it_unready_but_not_unhealthy(stack: Stack) -> None:
    assert stack.standing.fail("watch", "the database is gone")
    assert not stack.standing.fail("watch", "the database is gone")  # that is no news
    status, text = stack.get("/readyz")
    assert status == 503
    assert "the database is gone" in text
    assert stack.get("/healthz")[0] == 200
    found = stack.series()
    assert found["dqctl_controller_ready"] == 0
    assert stack.standing.succeed("watch")
    assert stack.get("/readyz")[0] == 200


def test_a_head_has_no_content_and_there_is_nothing_else(stack: Stack) -> None:
    assert stack.get("/healthz", "HEAD") == (200, "")
    assert stack.get("/")[0] == 404
    assert stack.get("/healthz", "POST")[0] == 501


def test_an_address_that_is_taken_or_none_is_refused(stack: Stack) -> None:
    with pytest.raises(EnvironmentFault, match="cannot be listened at"):
        Endpoints(f"127.0.0.1:{stack.endpoints.port}", stack.standing, stack.measure, stack.clock)
    for wrong in ("9187", ":9187", "localhost", "localhost:x", "127.0.0.1:70000"):
        with pytest.raises(UsageError, match="no address"):
            address(wrong)
    assert address("[::1]:9187") == ("::1", 9187)
