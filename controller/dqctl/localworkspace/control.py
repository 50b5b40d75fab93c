"""Starting, stopping and looking at the server process. Imports nothing heavy: commands that only look use it."""

import contextlib
import fcntl
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from dqctl.localworkspace.client import answers, request
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.layout import Layout
from dqctl.localworkspace.listeners import check_address, further
from dqctl.localworkspace.requirements import INSTALL, missing

_POLL = 0.05
_TAIL_LINES = 15
_SETTINGS_SECONDS = 10.0
_EXIT_SECONDS = 10.0
_MAX_LOG_BYTES = 10 * 1024 * 1024

# What the server, which outlives the command, gets of its environment: tokens and passwords are not for it.
_INHERITED = (
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "VIRTUAL_ENV",
    "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "all_proxy", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip
_INHERITED_PREFIXES = ("GRPC_", "PYTHON", "RUST_", "SAIL_", "SPARK_")

# Started by this process: kept, so that they are reaped when they end.
_children: list["subprocess.Popen[bytes]"] = []


class WorkspaceError(Exception):
    """The local workspace cannot be started or stopped; ``log_tail`` is what the server said last."""

    hint = "try again; nothing is lost"

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.log_tail = log_tail


class RunsOtherwiseError(WorkspaceError):
    """It runs, and not as it was asked for. Nothing is stopped behind its clients' back: the caller is told."""

    def __init__(self, data_dir: Path, how: str) -> None:
        super().__init__(f"the local workspace in {data_dir} runs {how}")
        self.hint = (
            f"dqctl workspace stop --data-dir {quote(str(data_dir))}, then the same command again; its data stays"
        )


class NotInstalledError(WorkspaceError):
    """The server's packages are not there: dqctl was installed without its extra."""

    hint = f"install them beside dqctl: {INSTALL}"


@dataclass(frozen=True)
class Status:
    """How a workspace is. ``answers`` means that it carried out a statement just now."""

    data_dir: Path
    running: bool
    answers: bool
    disk_bytes: int
    endpoint: Endpoint | None = None
    pid: int | None = None
    uptime_seconds: float | None = None
    engine: str | None = None
    tables: int | None = None


def start(
    data_dir: Path,
    *,
    port: int = 0,
    proxy_port: int = 0,
    proxy_addresses: Sequence[str] = (),
    engine: str = "sail",
    catalogs: Sequence[str] = ("main",),
    settings: Mapping[str, str] | None = None,
    postgres_programs: Path | None = None,
    timeout: float = 60,
) -> Endpoint:
    """Start the workspace in ``data_dir`` unless it runs already; the endpoint, which has answered a statement.

    ``settings`` replace the warehouse's settings (``{"ANSI_MODE": "false"}``); None leaves them as they are.
    Port 0 means that of the last time if it is free, else any. ``proxy_addresses`` are where the proxy listens
    beside loopback; without any, where it did the last time; loopback's own alone ends that. With
    ``postgres_programs``, the directory of PostgreSQL that has ``bin``, it has Lakebase from then on.
    ``WorkspaceError`` when one of them is not of this machine, when the workspace runs without it, or when it does
    not answer within ``timeout`` seconds; nothing is left running then that was not before.
    """
    layout = Layout(data_dir.expanduser().resolve())
    end = time.monotonic() + timeout
    try:
        layout.make()
        with _starting(layout, end):
            # One that is killed at this moment still seems to run.
            if _pid(layout) is not None and (running := _wait_until_it_answers(layout, end)):
                _require(running, proxy_addresses)
                _require_programs(layout, postgres_programs)
                _put_settings(running, settings)
                return running
            if absent := missing(engine):
                raise NotInstalledError(f"packages of the local workspace are not installed: {', '.join(absent)}")
            for address in proxy_addresses:
                check_address(address)
            argv = [f"--data-dir={layout.data_dir}", f"--port={port}", f"--proxy-port={proxy_port}"]
            argv += [f"--proxy-address={address}" for address in proxy_addresses]
            argv += [f"--engine={engine}", *(f"--catalog={name}" for name in catalogs)]
            argv += [f"--postgres-programs={postgres_programs}"] if postgres_programs else []
            process = _spawn(layout, argv)
            try:
                endpoint = _wait_until_it_answers(layout, end, process)
                if endpoint is None:
                    raise WorkspaceError(
                        f"the local workspace ended while it started (exit code {process.returncode})",
                        _tail(layout),
                    )
                _put_settings(endpoint, settings)
                return endpoint
            except BaseException:
                process.kill()
                process.wait()
                raise
    except OSError as error:
        raise WorkspaceError(f"the local workspace in {layout.data_dir} cannot start: {error}") from error


def _require(endpoint: Endpoint, proxy_addresses: Sequence[str]) -> None:
    if missing := set(further(tuple(proxy_addresses))) - set(endpoint.proxy_addresses):
        raise RunsOtherwiseError(
            endpoint.data_dir, f"and its proxy does not listen at {', '.join(sorted(missing))}"
        )


def _require_programs(layout: Layout, postgres_programs: Path | None) -> None:
    if postgres_programs and not layout.postgres_programs.exists():
        raise RunsOtherwiseError(layout.data_dir, "without Lakebase")


def ensure(
    data_dir: Path,
    *,
    engine: str = "sail",
    settings: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> Endpoint:
    """The endpoint of the workspace in ``data_dir``, started when it does not run; see ``start``."""
    layout = Layout(data_dir.expanduser().resolve())
    endpoint = Endpoint.read(layout.data_dir)
    if endpoint is not None and _pid(layout) == endpoint.pid and answers(endpoint, timeout):
        _put_settings(endpoint, settings)
        return endpoint
    return start(data_dir, engine=engine, settings=settings, timeout=timeout)


def stop(data_dir: Path, timeout: float = 20) -> bool:
    """Stop the workspace in ``data_dir``; whether it ran. ``WorkspaceError`` when it cannot be stopped in time."""
    layout = Layout(data_dir.expanduser().resolve())
    if not layout.lock.exists():
        return False
    end = time.monotonic() + timeout
    try:
        return _stop(layout, end)
    except OSError as error:
        raise WorkspaceError(f"the local workspace in {layout.data_dir} cannot be stopped: {error}") from error


def _stop(layout: Layout, end: float) -> bool:
    with _starting(layout, end):
        if (pid := _pid(layout)) is None:
            return False
        _signal(layout, signal.SIGTERM)
        killed = False
        while _pid(layout) is not None:
            if time.monotonic() > end:
                if killed:
                    raise WorkspaceError(f"the local workspace in {layout.data_dir} cannot be stopped")
                # The data survives it: Delta commits are atomic, the catalog is written by renaming.
                _signal(layout, signal.SIGKILL)
                killed, end = True, end + 5
            time.sleep(_POLL)
        _reap(pid)
        return True


def status(data_dir: Path, timeout: float = 10) -> Status:
    """How the workspace in ``data_dir`` is; nothing is started."""
    layout = Layout(data_dir.expanduser().resolve())
    _reap()
    endpoint, pid = Endpoint.read(layout.data_dir), _pid(layout)
    found: dict[str, Any] = {}
    if pid is not None and endpoint is not None and endpoint.pid == pid and answers(endpoint, timeout):
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            found = request(endpoint, "GET", "/api/dqctl/status", None, timeout)
    return Status(
        data_dir=layout.data_dir,
        running=pid is not None,
        answers=bool(found),
        disk_bytes=_disk_bytes(layout.data_dir),
        endpoint=endpoint if pid is not None else None,
        pid=pid,
        uptime_seconds=found.get("uptime_seconds"),
        engine=found.get("engine"),
        tables=found.get("tables"),
    )


def _spawn(layout: Layout, argv: list[str]) -> "subprocess.Popen[bytes]":
    if layout.log.exists() and layout.log.stat().st_size > _MAX_LOG_BYTES:
        layout.log.replace(layout.log.with_suffix(".log.1"))
    descriptor = os.open(layout.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        process = subprocess.Popen(
            # -P: the current directory is no place to import from.
            [sys.executable, "-P", "-m", "dqctl.localworkspace", *argv],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=layout.data_dir,
            env={
                name: value
                for name, value in os.environ.items()
                if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
            },
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    _children.append(process)
    return process


def _wait_until_it_answers(
    layout: Layout, end: float, process: "subprocess.Popen[bytes] | None" = None
) -> Endpoint | None:
    """The endpoint, when it answers; None when what was to answer, ``process`` or whoever runs, has ended."""
    while True:
        endpoint = Endpoint.read(layout.data_dir)
        if endpoint is not None and endpoint.pid == _pid(layout):
            left = end - time.monotonic()
            if left > 0 and answers(endpoint, left):
                return endpoint
        if process.poll() is not None if process else _pid(layout) is None:
            return None
        if time.monotonic() > end:
            raise WorkspaceError("the local workspace does not answer in time", _tail(layout))
        time.sleep(_POLL)


@contextlib.contextmanager
def _starting(layout: Layout, end: float) -> Iterator[None]:
    """One start or stop at a time."""
    with layout.start_lock.open("a", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise WorkspaceError(f"another process starts or stops {layout.data_dir}") from None
                time.sleep(_POLL)
        yield


def _pid(layout: Layout) -> int | None:
    """The process id of the living server: what the holder of the lock wrote; None when nobody holds it.

    A process id alone proves nothing, it may belong to a stranger by now; the lock ends with its holder.
    """
    try:
        file = layout.lock.open("r", encoding="utf-8")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            written = file.read()
            return int(written) if written else None  # it holds the lock and has not written yet
    return None


def _signal(layout: Layout, number: signal.Signals) -> None:
    """Signal the server, and nobody else."""
    pid = _pid(layout)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            os.kill(pid, number)
            return
        descriptor = os.pidfd_open(pid)
        try:
            if _pid(layout) == pid:  # still, so the descriptor is the server's
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _put_settings(endpoint: Endpoint, settings: Mapping[str, str] | None) -> None:
    if settings is None:
        return
    pairs = [{"key": name, "value": value} for name, value in settings.items()]
    body = {"sql_configuration_parameters": {"configuration_pairs": pairs}}
    try:
        answer = request(endpoint, "PUT", "/api/2.0/sql/config/warehouses", body, _SETTINGS_SECONDS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WorkspaceError(
            f"the warehouse did not take its settings: {error or type(error).__name__}"
        ) from error
    if "error_code" in answer:
        raise WorkspaceError(f"the warehouse refused its settings: {answer.get('message')}")


def _tail(layout: Layout) -> str:
    try:
        lines = layout.log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


def _disk_bytes(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total


def _reap(ended: int | None = None) -> None:
    """Collect children that are over; ``ended`` has let go of its lock, and is about to be."""
    for child in _children:
        if child.pid == ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_EXIT_SECONDS)
    _children[:] = [child for child in _children if child.poll() is None]
