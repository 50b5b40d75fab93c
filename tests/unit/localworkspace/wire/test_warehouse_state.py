from dqctl.localworkspace.wire.warehouse_state import WarehouseState


def test_it_runs_until_it_is_stopped_and_starts_slowly() -> None:
    now = [100.0]
    state = WarehouseState(lambda: now[0])
    assert (state.name, state.start()) == ("RUNNING", 0.0)
    state.stop(starting_takes=30)
    now[0] += 1000
    assert state.name == "STOPPED"
    assert state.start() == 30
    now[0] += 20
    assert (state.name, state.start()) == ("STARTING", 10)
    now[0] += 10
    assert (state.name, state.start()) == ("RUNNING", 0.0)


def test_stopped_without_a_word_about_starting_it_starts_at_once() -> None:
    state = WarehouseState(lambda: 5.0)
    state.stop()
    assert (state.name, state.start(), state.name) == ("STOPPED", 0.0, "RUNNING")


def test_it_can_be_had_running_at_once() -> None:
    state = WarehouseState(lambda: 5.0)
    state.stop(3600)
    state.start()
    state.run()
    assert state.name == "RUNNING"
