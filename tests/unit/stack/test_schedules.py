"""Schedules: cron's times, lines in a crontab that is shared with others, units of systemd."""

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.crontimes import checked_time, next_time
from dqctl.errors import UsageError
from dqctl.stack import crontab, schedules, timers
from dqctl.stack.paths import StackPaths
from dqctl.stack.schedules import Schedule

ANALYZE = shutil.which("systemd-analyze")
NOW = datetime.fromisoformat("2026-11-21 02:30")  # a Saturday


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("30 2 * * *", "2026-11-22 02:30"),
        ("31 2 * * *", "2026-11-21 02:31"),
        ("*/15 * * * *", "2026-11-21 02:45"),
        ("0 0 * * 0", "2026-11-22 00:00"),
        ("0 0 * * 7", "2026-11-22 00:00"),
        ("0 0 * * sun", "2026-11-22 00:00"),
        ("15 4 1 jan *", "2027-01-01 04:15"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        # The day of the month or the weekday, but both where one begins with a star.
        ("0 3 13 * 5", "2026-11-27 03:00"),
        ("0 3 */2 * 5", "2026-11-27 03:00"),
        ("0 3 */10 * 1", "2026-12-21 03:00"),
        ("@daily", "2026-11-22 00:00"),
        ("@HOURLY", "2026-11-21 03:00"),
    ],
)
def test_the_next_time_is_crons(at: str, due: str) -> None:
    assert next_time(checked_time(at), NOW) == datetime.fromisoformat(due)


def test_a_day_that_there_never_is_is_never_due() -> None:
    assert next_time("0 0 30 2 *", NOW) is None


@pytest.mark.parametrize("at", ["", "0 0 * *", "60 0 * * *", "0 24 * * *", "@reboot", "0 0 * * * *", "a b c d e"])
def test_what_cron_would_not_take_is_refused(at: str) -> None:
    with pytest.raises(UsageError, match="no time of cron's"):
        checked_time(at)


@pytest.mark.parametrize("name", ["", "Night", "a/b", "../x", "a b", "-a", "a" * 40])
def test_a_name_that_would_be_a_path_or_a_word_of_a_shell_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        schedules.checked_name(name)


@pytest.mark.parametrize(
    ("at", "calendars"),
    [
        ("30 2 * * *", ["*-*-* 02:30:00"]),
        ("0 0 * * 0", ["Sun *-*-* 00:00:00"]),
        ("0 3 13 * 5", ["*-*-13 03:00:00", "Fri *-*-* 03:00:00"]),
        ("0 3 */10 * 1", ["Mon *-*-01,11,21,31 03:00:00"]),
        ("5 */12 1 6 *", ["*-06-01 00,12:05:00"]),
        ("* * * * *", ["*-*-* *:*:00"]),
    ],
)
def test_systemds_calendar_means_the_same(at: str, calendars: list[str]) -> None:
    assert list(timers.calendar(at)) == calendars


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize(
    "at", ["30 2 * * *", "0 3 13 * 5", "0 3 */10 * 1", "*/7 * * * 1-5", "@monthly", "0 0 29 2 *"]
)
def test_systemd_reads_it_as_we_do(at: str) -> None:
    at = checked_time(at)
    base = NOW.strftime("%Y-%m-%d %H:%M:%S")
    found = []
    for each in timers.calendar(at):
        done = subprocess.run(
            [ANALYZE, "calendar", f"--base-time={base}", each],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        (line,) = [line for line in done.stdout.splitlines() if "Next elapse:" in line]
        found.append(datetime.fromisoformat(" ".join(line.split()[3:5])))
    assert min(found) == next_time(at, NOW)


def test_units_of_systemd_are_well_formed(tmp_path: Path) -> None:
    argv = ["/usr/bin/env", "python3", "-m", "dqctl", "--home", "/a b/$x%y", "schedule", "run", "night"]
    units = timers.render("default", "/a b/$x%y", Schedule("night", "30 2 * * *", ("run-tests",)), argv)
    assert sorted(units) == ["dqctl-default-night.service", "dqctl-default-night.timer"]
    assert "'/a b/$$x%%y'" in units["dqctl-default-night.service"]
    assert "OnCalendar=*-*-* 02:30:00\n" in units["dqctl-default-night.timer"]
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    if ANALYZE:
        done = subprocess.run(
            [ANALYZE, "verify", *(str(tmp_path / name) for name in units)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert not [line for line in done.stderr.splitlines() if "dqctl-default-night" in line], done.stderr


OTHERS = '# my own\nMAILTO=root\n0 3 * * 1-5\t/usr/bin/x  %foo # hi\n  5   4 * * sun   echo "a  b"\n\nbad line'
MARK = crontab.mark("/home/me/.local/share/dqctl", "default", "night")


def test_a_line_comes_changes_and_goes_and_others_stay_as_they_are() -> None:
    one = crontab.with_line(OTHERS, MARK, "0 2 * * * dqctl")
    assert one == f"{OTHERS}\n{MARK}\n0 2 * * * dqctl\n"
    more = one + "7 7 * * * later\n"
    two = crontab.with_line(more, MARK, "30 2 * * * dqctl")
    assert two == more.replace("0 2 * * * dqctl", "30 2 * * * dqctl")
    assert crontab.with_line(two, MARK, "30 2 * * * dqctl") == two
    assert crontab.line_of(two, MARK) == "30 2 * * * dqctl"
    assert crontab.without_line(two, MARK) == f"{OTHERS}\n7 7 * * * later\n"
    assert crontab.line_of(OTHERS, MARK) is None


def test_the_same_name_in_another_stack_or_home_is_another_line() -> None:
    other = crontab.mark("/srv/dqctl", "default", "night")
    both = crontab.with_line(crontab.with_line("", MARK, "1 1 * * * a"), other, "2 2 * * * b")
    assert crontab.without_line(both, MARK) == f"{other}\n2 2 * * * b\n"


@given(st.text(alphabet="ab#%\\ \t*\r\x0b", max_size=30).map(lambda text: f"{text}\n") | st.just(""))
def test_whatever_others_wrote_is_the_same_bytes_afterwards(text: str) -> None:
    assert crontab.without_line(crontab.with_line(text, MARK, "0 2 * * * x"), MARK) == text


def test_percent_and_blanks_survive_cron_and_its_shell() -> None:
    line = crontab.line("0 2 * * *", ["/usr/bin/python3", "-m", "dqctl", "--home", "/a b/100%"])
    assert line == "0 2 * * * /usr/bin/python3 -m dqctl --home '/a b/100\\%'"


def test_a_schedule_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    paths = StackPaths(tmp_path, "default")
    paths.root.mkdir(parents=True)
    wanted = Schedule("night", "30 2 * * *", ("run-tests", "--all"), "systemd", {"DQCTL_PARALLEL": "2"}, 60.0)
    schedules.write(paths, wanted)
    assert schedules.every(paths) == (wanted,)
    assert (paths.schedules / "night.json").stat().st_mode & 0o777 == 0o600
    assert schedules.drop(paths, "night")
    assert not schedules.drop(paths, "night")
