import re
import threading
import time

import pytest

from dqctl.localworkspace.faults import MOST_HITS, Effect, Fault, FaultScript, Kind, faults_from


def met(script: FaultScript, count: int, text: str = "INSERT INTO t", kind: Kind = Kind.STATEMENT) -> list[str]:
    return ["+".join(fault.effect for fault in script.meet(kind, text)) for _ in range(count)]


def script_of(*faults: Fault) -> FaultScript:
    script = FaultScript()
    for fault in faults:
        script.add(fault)
    return script


def test_one_fault_happens_once_and_is_over() -> None:
    script = script_of(Fault(Effect.RESET))
    assert not script.is_empty
    assert met(script, 3) == ["reset", "", ""]
    assert script.is_empty


def test_skip_every_and_times_choose_requests() -> None:
    script = script_of(Fault(Effect.LOST, skip=2, every=3, times=2))
    assert met(script, 10) == ["", "", "lost", "", "", "lost", "", "", "", ""]
    (scripted,) = script.all()
    assert (scripted.matched, scripted.hit, scripted.is_over) == (6, 2, True)


def test_times_zero_goes_on_until_it_is_cleared() -> None:
    script = script_of(Fault(Effect.STATUS, times=0))
    assert met(script, 50) == ["status"] * 50
    assert script.clear() == 1
    assert met(script, 2) == ["", ""]
    assert script.is_empty


def test_kind_and_pattern_choose_requests_and_others_do_not_count() -> None:
    script = script_of(Fault(Effect.CUT, Kind.FILE, "^PUT .*parquet$", skip=1))
    assert met(script, 2, "PUT /Volumes/a.csv", Kind.FILE) == ["", ""]
    assert met(script, 2, "PUT /Volumes/a.parquet", Kind.STATEMENT) == ["", ""]
    assert met(script, 2, "PUT /Volumes/a.parquet", Kind.FILE) == ["", "cut"]


def test_delays_add_up_and_go_together_with_another_fault() -> None:
    script = script_of(
        Fault(Effect.DELAY, seconds=0.3, times=0), Fault(Effect.RESET, skip=1), Fault(Effect.DELAY, seconds=1)
    )
    assert met(script, 3) == ["delay+delay", "delay+reset", "delay"]


def test_a_request_meets_the_first_of_two_and_the_second_does_not_count_it() -> None:
    script = script_of(Fault(Effect.LOST, skip=1), Fault(Effect.RESET, skip=1, times=0))
    assert met(script, 4) == ["", "lost", "reset", "reset"]


def test_a_commit_waits_until_its_fault_is_removed_or_the_statement_is_cancelled() -> None:
    script = script_of(Fault(Effect.DELAY, Kind.COMMIT, "^UPDATE", seconds=86_400, times=0))
    never, cancelled = threading.Event(), threading.Event()
    script.hold("INSERT INTO t", never)
    cancelled.set()
    script.hold("UPDATE t", cancelled)
    waits = threading.Thread(target=script.hold, args=("UPDATE t", never), daemon=True)
    waits.start()
    end = time.monotonic() + 60
    while len(script.hits()) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert waits.is_alive()
    assert script.remove(1)
    waits.join(60)
    assert not waits.is_alive()


def test_a_commit_is_only_ever_delayed() -> None:
    with pytest.raises(ValueError, match="a commit is delayed"):
        Fault(Effect.LOST, Kind.COMMIT)


def test_ids_are_not_used_again() -> None:
    script = FaultScript()
    assert [script.add(Fault(Effect.RESET)).id for _ in range(2)] == [1, 2]
    script.clear()
    assert script.add(Fault(Effect.RESET)).id == 3


def test_what_is_listed_describes_the_fault_again() -> None:
    (document,) = (each.as_document() for each in script_of(Fault(Effect.STATUS, retry_after=0)).all())
    assert document.pop("id") == 1
    assert (document.pop("matched"), document.pop("hit")) == (0, 0)
    assert Fault.from_document(document) == Fault(Effect.STATUS, retry_after=0)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "has an effect"),
        ({"effect": "explode"}, "explode"),
        ({"effect": "reset", "kind": "query"}, "query"),
        ({"effect": "reset", "when": "now"}, "no when"),
        ({"effect": "reset", "matching": "("}, "no regular expression"),
        ({"effect": "reset", "skip": -1}, "not negative"),
        ({"effect": "reset", "every": 0}, "at least 1"),
        ({"effect": "delay", "seconds": 86_401}, "a day"),
        ({"effect": "status", "status": 200}, "no HTTP status"),
        ({"effect": "error", "kind": "file"}, "only statements"),
        ({"effect": "error", "error_class": "NEVER_HEARD_OF"}, "what does NEVER_HEARD_OF say"),
        ({"effect": "delay", "probability": 0}, "above 0"),
        ({"effect": "delay", "probability": 1.1}, "1 at most"),
        ({"effect": "delay", "seconds": "long"}, "long|not supported"),
    ],
)
def test_what_makes_no_sense_is_refused(document: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Fault.from_document(document)


def test_conflicts_are_worded_as_databricks_does() -> None:
    message, sqlstate = Fault(Effect.ERROR).wording
    assert sqlstate == "2D521"
    assert re.match(r"Transaction conflict detected\. A concurrent WRITE added data to table t", message)
    own = Fault(Effect.ERROR, error_class="INTERNAL_ERROR", message="no luck", sqlstate="XX001")
    assert own.wording == ("no luck", "XX001")


def test_a_seed_chooses_the_same_requests_every_time_and_another_one_others() -> None:
    def chosen(seed: int) -> list[str]:
        return met(script_of(Fault(Effect.LOST, times=0, probability=0.3, seed=seed)), 1000)

    assert chosen(7) == chosen(7)
    assert chosen(7) != chosen(8)
    assert 240 < sum(each == "lost" for each in chosen(7)) < 360


def test_chance_chooses_among_what_skip_and_every_leave() -> None:
    script = script_of(Fault(Effect.LOST, skip=2, every=2, times=3, probability=0.5, seed=1))
    hit = [place for place, effect in enumerate(met(script, 100)) if effect]
    assert len(hit) == 3
    assert all(place >= 2 and place % 2 == 0 for place in hit)


def test_hits_are_on_record_until_the_script_is_cleared() -> None:
    script = FaultScript(now=lambda: 12.0)
    first = script.add(Fault(Effect.DELAY, times=0))
    second = script.add(Fault(Effect.RESET, matching="INSERT"))
    met(script, 1, "SELECT 1")
    met(script, 1, "INSERT INTO t " + "x" * 1000)
    found = [(hit.number, hit.fault, hit.effect, hit.at) for hit in script.hits()]
    assert found == [
        (1, first.id, Effect.DELAY, 12.0), (2, first.id, Effect.DELAY, 12.0), (3, second.id, Effect.RESET, 12.0),
    ]  # fmt: skip
    assert script.hits()[0].subject == "SELECT 1"
    assert len(script.hits()[2].subject) == 300
    met(script, MOST_HITS, "SELECT 1")
    assert (len(script.hits()), script.hits()[-1].number) == (MOST_HITS, MOST_HITS + 3)
    script.clear()
    assert script.hits() == ()


def test_one_fault_is_taken_out_by_its_id() -> None:
    script = script_of(Fault(Effect.RESET, times=0), Fault(Effect.LOST, times=0))
    assert script.remove(1)
    assert not script.remove(1)
    assert met(script, 1) == ["lost"]


def test_a_script_is_a_list_of_faults_or_nothing() -> None:
    assert faults_from({"faults": [{"effect": "lost"}, {"effect": "stop", "seconds": 2}]}) == [
        Fault(Effect.LOST), Fault(Effect.STOP, seconds=2),
    ]  # fmt: skip
    for document in ([], {}, {"faults": {}}, {"faults": ["lost"]}, {"faults": [{"effect": "lost"}, {}]}):
        with pytest.raises(ValueError, match=r"script|effect"):
            faults_from(document)
