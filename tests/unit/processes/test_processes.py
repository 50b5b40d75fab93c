import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.processes import Completed, leave_behind, run
from dqctl.redaction import register

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def python(code: str, **options: object) -> Completed:
    options = {"deadline": Deadline(30), "environment": ENVIRONMENT} | options
    return run([sys.executable, "-c", code], **options)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: object, seconds: float = 10.0) -> bool:
    deadline = Deadline(seconds)
    while not deadline.passed:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_output_exit_code_and_stdin_go_their_ways() -> None:
    done = python(
        "import sys; print(sys.stdin.read()); print('wrong', file=sys.stderr); sys.exit(7)", stdin="hällo"
    )
    assert (done.exit_code, done.stdout, done.stderr) == (7, "hällo\n", "wrong\n")
    assert done.seconds > 0


def test_files_pass_by_as_they_are_and_belong_to_nobody_else(tmp_path: Path) -> None:
    source, sink = tmp_path / "source", tmp_path / "sink"
    source.write_bytes(bytes(range(256)) * 4000)
    sink.write_text("of before, and longer than nothing")
    sink.chmod(0o600)
    code = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer); sys.stderr.write('said')"
    done = python(code, stdin=source, stdout=sink)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "said")
    assert sink.read_bytes() == source.read_bytes()
    done = python("print('new')", stdout=tmp_path / "new")
    assert ((tmp_path / "new").read_text(), (tmp_path / "new").stat().st_mode & 0o777) == ("new\n", 0o600)


def test_the_deadline_holds_for_files_too(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="did not finish within 1 s"):
        python(
            "import time; time.sleep(60)", stdin=Path("/dev/zero"), stdout=tmp_path / "sink", deadline=Deadline(1)
        )


def test_any_exit_code_is_returned_and_a_signal_is_negative() -> None:
    assert python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").exit_code == -signal.SIGKILL


def test_megabytes_on_stderr_while_stdin_is_fed_do_not_block() -> None:
    code = "import sys; sys.stderr.write('e' * 3_000_000); print(len(sys.stdin.read())); sys.stderr.write('end')"
    done = python(code, stdin="i" * 3_000_000)
    assert done.stdout == "3000000\n"
    assert len(done.stderr) == 3_000_003


def test_a_process_that_ignores_its_stdin_is_fine() -> None:
    assert python("print(1)", stdin="x" * 1_000_000).stdout == "1\n"


def test_lines_arrive_while_the_process_runs() -> None:
    heard: list[tuple[str, float]] = []
    python(
        "import time\nprint('one', flush=True)\ntime.sleep(0.5)\nprint('two')",
        on_line=lambda line: heard.append((line, time.monotonic())),
    )
    assert [line for line, _ in heard] == ["one", "two"]
    assert heard[1][1] - heard[0][1] > 0.3


def test_lines_are_heard_in_the_callers_thread() -> None:
    threads: set[object] = set()
    python("print(1)", on_line=lambda _: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert python(r"import os; os.write(1, b'a\xffb\r\n')").stdout == "a�b\r\n"


def test_the_environment_is_all_that_the_process_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQCTL_PLANTED", "x")
    done = python("import os; print('DQCTL_PLANTED' in os.environ, os.environ['A'])", environment={"A": "b"})
    assert done.stdout == "False b\n"


def test_a_secret_in_an_argument_is_refused_before_anything_starts(tmp_path: Path) -> None:
    register("s3cret-in-argv")
    with pytest.raises(ValueError, match="argument 1 of touch holds a secret") as raised:
        run(["/usr/bin/touch", f"{tmp_path}/s3cret-in-argv"], deadline=Deadline(5), environment={})
    assert "s3cret" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_weak_password_that_is_a_word_stops_no_program() -> None:
    register("w0rd-like")
    assert python("print('w0rd-like')").stdout == "w0rd-like\n"


def test_a_program_that_is_missing_is_a_fault_of_the_environment() -> None:
    with pytest.raises(EnvironmentFault, match="cannot be started"):
        run(["/nonexistent/program"], deadline=Deadline(5), environment={})


def test_the_deadline_ends_the_process_and_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(EnvironmentFault, match="did not finish within 2 s"):
        python(code, deadline=Deadline(2))
    assert time.monotonic() - started < 30
    assert wait_until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


def test_who_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    with pytest.raises(EnvironmentFault):
        python(code, deadline=Deadline(2), grace=0.5)
    assert not alive(int(pid.read_text()))


def test_a_process_may_clean_up_on_sigterm(tmp_path: Path) -> None:
    note = tmp_path / "note"
    code = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(note)!r}, 'w').write('settled'), sys.exit(0)))\n"
        "time.sleep(60)"
    )
    with pytest.raises(EnvironmentFault):
        python(code, deadline=Deadline(2))
    assert note.read_text() == "settled"


def test_a_child_that_is_left_behind_neither_blocks_nor_lives_on(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid)); print('done')"
    )
    started = time.monotonic()
    assert python(code).stdout == "done\n"
    assert time.monotonic() - started < 30
    assert wait_until(lambda: not alive(int(pid.read_text())))


def test_who_is_left_behind_finds_files_by_the_names_that_they_have_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert leave_behind(["/bin/sh", "-c", ": > here"], environment=ENVIRONMENT, told=False).wait() == 0
    assert (tmp_path / "here").exists()


def test_a_daemon_that_keeps_our_pipes_does_not_hold_us() -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(child.pid)"
    )
    started = time.monotonic()
    done = python(code)
    assert time.monotonic() - started < 30
    os.kill(int(done.stdout), signal.SIGKILL)


def test_an_error_of_the_listener_ends_the_process(tmp_path: Path) -> None:
    def fail(line: str) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError, match=r"^\d+$") as raised:
        python("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)", on_line=fail)
    assert not alive(int(str(raised.value)))


_DRIVER = """
import sys, time
from dqctl.clock import Deadline
from dqctl.processes import run
code = "import os, time\\nprint(os.getpid(), flush=True)\\ntime.sleep(60)"
run([sys.executable, "-c", code], deadline=Deadline(60), environment={},
    on_line=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, None), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_the_process_ends_with_dqctl_however_that_ends(number: signal.Signals, code: int | None) -> None:
    argv = [
        "env",
        "--default-signal=HUP",
        sys.executable,
        "-c",
        _DRIVER,
    ]  # the tests themselves may be under nohup
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        assert driver.stdout
        child = int(driver.stdout.readline())
        assert alive(child)
        driver.send_signal(number)
        driver.wait(20)
    assert driver.returncode == code or (code is None and driver.returncode != 0)
    assert wait_until(lambda: not alive(child))


def test_who_is_to_ignore_the_end_of_its_terminal_does(tmp_path: Path) -> None:
    code = f"""
import signal
from dqctl.clock import Deadline
from dqctl.processes import run
script = "kill -HUP $PPID; sleep 0.2; echo said > {tmp_path}/said"
run(["/bin/sh", "-c", script], deadline=Deadline(60), environment={{"PATH": "/usr/bin:/bin"}})
"""
    argv = ["nohup", sys.executable, "-c", code]
    assert subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0
    assert (tmp_path / "said").exists()


_STARTER = """
import logging, sys, threading
from dqctl.clock import Deadline
from dqctl.processes import run
from dqctl.signals import unwinding
try:
    with unwinding():
        print(flush=True)
        while True:
            run(["/bin/true"], deadline=Deadline(60), environment={})
finally:
    # Logging's lock is free, for other threads too.
    other = threading.Thread(target=logging.warning, args=("said",), daemon=True)
    other.start()
    other.join(10)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_no_signal_is_lost_while_processes_are_started(number: signal.Signals, code: int) -> None:
    with contextlib.ExitStack() as started:
        drivers = []
        for _ in range(12):
            pipes = subprocess.PIPE
            driver = subprocess.Popen([sys.executable, "-c", _STARTER], stdout=pipes, stderr=pipes, text=True)
            drivers.append(started.enter_context(driver))
            started.callback(driver.kill)
            assert driver.stdout
            driver.stdout.readline()
            driver.send_signal(number)  # wherever it is in its first start, or its second
        for driver in drivers:
            _, said = driver.communicate(timeout=30)
            assert (driver.returncode, "WARNING:root:said" in said) == (code, True), said


def test_a_process_whose_start_was_interrupted_is_not_left(tmp_path: Path) -> None:
    code = f"""
import os, signal, subprocess
from dqctl.clock import Deadline
from dqctl.processes import run
popen = subprocess.Popen
def interrupted(*arguments, **options):
    os.kill(os.getpid(), signal.SIGINT)
    process = popen(*arguments, **options)
    open({str(tmp_path / "pid")!r}, "w").write(str(process.pid))
    return process
subprocess.Popen = interrupted
try:
    run(["/bin/sleep", "60"], deadline=Deadline(60), environment={{}})
except KeyboardInterrupt:
    pid = int(open({str(tmp_path / "pid")!r}).read())
    print(os.path.exists(f"/proc/{{pid}}"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_a_process_becomes_the_account_that_is_asked_for() -> None:
    done = run(
        ["/usr/bin/id", "-un"], deadline=Deadline(10), environment=ENVIRONMENT, account="nobody", cwd=Path("/")
    )
    assert done.stdout == "nobody\n"
    assert run(["/usr/bin/id", "-G"], deadline=Deadline(10), environment=ENVIRONMENT, account="nobody",
               cwd=Path("/")).stdout.split() == ["65534"]  # fmt: skip
