"""The directories of calls: there while the call runs, whoever looks, and gone when its dqctl is."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from dqctl.runtime import homes

# A process of its own, which says where its home is and then waits to be killed.
_CALL = """
import sys, time
from pathlib import Path
from dqctl.runtime.homes import call_home

with call_home(Path(sys.argv[1])) as home:
    (home / "file").write_text("used")
    print(home, flush=True)
    time.sleep(60)
"""


def test_a_home_of_a_call_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with homes.call_home(tmp_path / "work") as home:
        assert home.stat().st_mode & 0o777 == 0o700
        (home / "file").write_text("")
    assert list((tmp_path / "work").iterdir()) == []


def test_what_another_process_uses_stays_until_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CALL, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        home = Path(other.stdout.readline().strip())
        homes.remove_left_overs(tmp_path)
        assert (home / "file").read_text() == "used"
        other.send_signal(signal.SIGKILL)
    homes.remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_home_is_not_judged_by_a_process_of_its_number(tmp_path: Path) -> None:
    (tmp_path / f"{os.getpid()}-left").mkdir()  # as before, and as from another container
    homes.remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_homes_that_are_being_made_are_never_taken_for_left_overs(tmp_path: Path) -> None:
    over = threading.Event()

    def remove() -> None:
        while not over.is_set():
            homes.remove_left_overs(tmp_path)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(100):
            with homes.call_home(tmp_path) as home:
                (home / "file").write_text("")
                assert (home / "file").exists()
    finally:
        over.set()
        remover.join()


def test_where_there_was_no_call_yet_there_is_nothing_to_remove(tmp_path: Path) -> None:
    homes.remove_left_overs(tmp_path / "work")
