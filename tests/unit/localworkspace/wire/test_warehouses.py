"""Warehouses that are made, stop by themselves and start with the next statement; each has sessions of its own."""

import json
import stat
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from dqctl.localworkspace.contract import Result, Session
from dqctl.localworkspace.wire.failures import ApiError
from dqctl.localworkspace.wire.sessions import Sessions, UnknownHandle
from dqctl.localworkspace.wire.warehouse_state import WarehouseState
from dqctl.localworkspace.wire.warehouses import LOCAL, Warehouses


class Patient(Session):
    """A session whose statements end when the test says so."""

    catalog, schema = "main", "default"
    go_on = threading.Event()

    def execute(self, *_: object) -> Result:
        assert self.go_on.wait(20)
        return Result(pa.table({}))

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class PatientLakehouse:
    def open_session(self, *_: object) -> Session:
        return Patient()

    def volume_file(self, path: str) -> Path:
        raise NotImplementedError

    def close(self) -> None: ...


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def sessions(clock: Time) -> Sessions:
    return Sessions(PatientLakehouse(), monotonic=clock)


@pytest.fixture
def warehouses(tmp_path: Path, sessions: Sessions, clock: Time) -> Warehouses:
    return Warehouses(tmp_path / "warehouses.json", sessions, lambda: WarehouseState(clock))


def test_the_first_one_is_always_there_and_never_stops_by_itself(warehouses: Warehouses, clock: Time) -> None:
    assert [each.id for each in warehouses.all()] == [LOCAL]
    clock.now += 1_000_000
    warehouses.expire()
    assert warehouses.find(LOCAL).state.name == "RUNNING"
    with pytest.raises(ApiError, match="cannot be deleted"):
        warehouses.delete(LOCAL)


def test_what_was_made_and_changed_is_there_after_a_restart(
    warehouses: Warehouses, sessions: Sessions, tmp_path: Path
) -> None:
    made = warehouses.create({"name": "night", "auto_stop_mins": 10, "cluster_size": "Small", "nonsense": 1})
    gone = warehouses.create({"name": "gone"})
    warehouses.edit(made.id, {"auto_stop_mins": "15"})
    warehouses.edit(LOCAL, {"auto_stop_mins": 60})
    warehouses.delete(gone.id)
    file = tmp_path / "warehouses.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "nonsense" not in file.read_text()
    again = Warehouses(file, sessions)
    kept = {each.id: (each.name, each.settings["auto_stop_mins"]) for each in again.all()}
    assert kept == {made.id: ("night", 15), LOCAL: ("local", 60)}
    assert again.find(made.id).settings["cluster_size"] == "Small"
    assert json.loads(file.read_text())[made.id]["warehouse_type"] == "PRO"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, "name is required"),
        ({"name": "  "}, "name is required"),
        ({"name": "local"}, "already exists"),
        ({"name": "x", "auto_stop_mins": -1}, "auto_stop_mins"),
        ({"name": "x", "auto_stop_mins": "soon"}, "auto_stop_mins"),
        ({"name": "x", "auto_stop_mins": True}, "auto_stop_mins"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    warehouses: Warehouses, given: dict[str, object], wrong: str
) -> None:
    with pytest.raises(ApiError, match=wrong):
        warehouses.create(given)
    assert len(warehouses.all()) == 1
    for change in (warehouses.find, warehouses.delete, warehouses.stop):
        with pytest.raises(ApiError, match="does not exist"):
            change("nobody")


def test_one_that_nobody_uses_stops_and_its_sessions_end(
    warehouses: Warehouses, sessions: Sessions, clock: Time
) -> None:
    made = warehouses.create({"name": "night", "auto_stop_mins": 10})
    own = sessions.open(None, None, {}, made.id)
    other = sessions.open(None, None, {}, LOCAL)
    clock.now += 590
    warehouses.expire()
    made.state.used()
    clock.now += 590
    warehouses.expire()
    assert made.state.name == "RUNNING"
    clock.now += 10
    warehouses.expire()
    assert (made.state.name, warehouses.all_run) == ("STOPPED", False)
    with pytest.raises(UnknownHandle):
        sessions.get(own.id)
    sessions.get(other.id)
    # The next statement starts it, and it is used again.
    assert (made.state.start(), made.state.name) == (0.0, "RUNNING")
    clock.now += 590
    warehouses.expire()
    assert made.state.name == "RUNNING"


def test_one_that_works_does_not_stop_however_long_it_takes(
    warehouses: Warehouses, sessions: Sessions, clock: Time
) -> None:
    made = warehouses.create({"name": "night", "auto_stop_mins": 1})
    operation = sessions.start(sessions.open(None, None, {}, made.id).id, lambda session: session.execute(""))
    clock.now += 600
    warehouses.expire()
    assert made.state.name == "RUNNING"
    Patient.go_on.set()
    assert operation.wait(20)
    warehouses.expire()
    assert made.state.name == "STOPPED"


def test_the_slow_start_that_was_asked_for_stays_until_all_is_calm_again(
    warehouses: Warehouses, clock: Time
) -> None:
    made = warehouses.create({"name": "night", "auto_stop_mins": 1})
    warehouses.stop(made.id, 30)
    assert made.state.start() == 30
    clock.now += 30 + 60
    warehouses.expire()
    assert (made.state.name, made.state.start()) == ("STOPPED", 30)
    warehouses.run()
    warehouses.stop(made.id)
    assert made.state.start() == 0
