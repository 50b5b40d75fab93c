"""The server process: opens the lakehouse, listens, says where, and ends cleanly."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from dqctl.localworkspace.certificates import Certificates
from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.endpoint import FILE_NAME, Endpoint
from dqctl.localworkspace.faults import Fault, faults_from
from dqctl.localworkspace.lakebase.cluster import Programs, find_account
from dqctl.localworkspace.lakebase.projects import Projects
from dqctl.localworkspace.lakehouse import LocalLakehouse, open_lakehouse
from dqctl.localworkspace.layout import HOST, Layout
from dqctl.localworkspace.listeners import ADDRESS, Ports, existing, further, listening, listening_everywhere
from dqctl.localworkspace.proxy import ConnectProxy
from dqctl.localworkspace.tokens import Tokens
from dqctl.localworkspace.wire.application import build_application
from dqctl.localworkspace.wire.connections import BoundedProtocol, allow_open_files
from dqctl.localworkspace.wire.disturbances import Disturbances
from dqctl.localworkspace.wire.sessions import Sessions
from dqctl.localworkspace.wire.uploads import Uploads
from dqctl.localworkspace.wire.warehouse_settings import WarehouseSettings
from dqctl.localworkspace.wire.warehouses import LOCAL, Warehouses
from dqctl.localworkspace.wire.warehouses_api import http_path

logger = logging.getLogger(__name__)

# SIGTERM ends the server within 10 s: requests get 3 s, engine and catalog what is left, then it is cut off.
_REQUESTS_SECONDS = 3
_END_SECONDS = 9.0
_EXPIRE_EVERY = 5.0
_LOCK_SECONDS = 1.0
# Clients keep connections between statements; a connection closed on them looks like a broken network.
_KEEP_ALIVE_SECONDS = 3600


@dataclass(frozen=True)
class Options:
    """What a server is started with. Port 0: that of the last time if it is free, else any.

    ``proxy_addresses``: where the proxy listens beside loopback; without any, where it did the last time.
    ``postgres_programs``: PostgreSQL's directory that has ``bin``, for Lakebase; without it, the one of before.
    ``everywhere``: HTTPS listens in every network, which is right in a container that has one of its own only.
    """

    data_dir: Path
    port: int = 0
    proxy_port: int = 0
    engine: str = "sail"
    catalogs: Sequence[str] = ("main",)
    proxy_addresses: tuple[str, ...] = ()
    everywhere: bool = False
    postgres_programs: Path | None = None


class AlreadyRunning(Exception):  # noqa: N818 - named for what it is
    """Another server has the data directory."""


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT. ``AlreadyRunning`` when another server has the data directory."""
    layout = Layout(options.data_dir.resolve())
    layout.make()
    allow_open_files()
    with _held(layout), _ending_in_time() as ending:
        tokens = Tokens(layout.server)
        certificates = Certificates(layout.server, HOST)
        certificates.ensure()
        last = Ports.read(layout.ports)
        given = options.proxy_addresses
        remembered = further(given) if given else last.proxy_addresses
        addresses = remembered if given else existing(remembered)
        with (
            listening(options.port, last.port, everywhere=options.everywhere) as listener,
            listening_everywhere(options.proxy_port, last.proxy_port, addresses) as proxy_listeners,
            contextlib.closing(
                open_lakehouse(layout.data_dir, engine=options.engine, catalogs=options.catalogs)
            ) as lakehouse,
        ):
            _probe(lakehouse)
            ports = Ports(listener.getsockname()[1], proxy_listeners[0].getsockname()[1], remembered)
            _write(layout.ports, json.dumps(asdict(ports)))
            endpoint = Endpoint(
                host=HOST,
                address=ADDRESS,
                port=ports.port,
                proxy_url=f"http://{ADDRESS}:{ports.proxy_port}",
                http_path=http_path(LOCAL),
                ca_file=certificates.ca_file,
                token_file=tokens.token_file,
                data_dir=layout.data_dir,
                pid=os.getpid(),
                engine=options.engine,
                proxy_addresses=addresses,
            )
            projects = _projects(layout, options.postgres_programs, certificates, (ADDRESS, *addresses))
            _Service(endpoint, lakehouse, tokens, certificates, projects).serve(listener, proxy_listeners, ending)


class _Service:
    """The application with its listeners, from first to last request."""

    def __init__(
        self,
        endpoint: Endpoint,
        lakehouse: LocalLakehouse,
        tokens: Tokens,
        certificates: Certificates,
        projects: Projects,
    ) -> None:
        self._endpoint = endpoint
        self._settings = WarehouseSettings(Layout(endpoint.data_dir).warehouse, lakehouse)
        self._sessions = Sessions(lakehouse, defaults=self._settings.values)
        self._warehouses = Warehouses(Layout(endpoint.data_dir).warehouses, self._sessions)
        self._disturbances = Disturbances(self._warehouses)
        self._disturbances.script.extend(_first_faults(Layout(endpoint.data_dir).faults))
        lakehouse.before_commit = self._disturbances.script.hold
        self._tokens = tokens
        self._certificates = certificates
        self._projects = projects
        self._catalog = lakehouse.catalog
        self._uploads = Uploads(Layout(endpoint.data_dir).uploads)
        self._started = time.monotonic()

    def serve(
        self, listener: socket.socket, proxy_listeners: Sequence[socket.socket], ending: threading.Event
    ) -> None:
        """Serve until a signal comes."""

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            proxy = ConnectProxy(HOST, (ADDRESS, self._endpoint.port))
            servers = [await asyncio.start_server(proxy.handle, sock=each) for each in proxy_listeners]
            expiring = asyncio.create_task(self._expire())
            await self._projects.open()
            file = self._endpoint.data_dir / FILE_NAME
            _write(file, self._endpoint.as_json())
            logger.info("serving %s at %s:%s", HOST, ADDRESS, self._endpoint.port)
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
                expiring.cancel()
                for server in servers:
                    server.close()
                await self._projects.close()
                await asyncio.to_thread(self._sessions.close_all)

        application = build_application(
            self._sessions,
            self._tokens,
            self._settings,
            self._disturbances,
            self._projects,
            self._uploads,
            self._catalog,
            description=self._description,
            lifespan=lifespan,
        )
        config = uvicorn.Config(
            application,
            http=BoundedProtocol,
            ssl_certfile=self._certificates.server_file,
            ssl_keyfile=self._certificates.server_key_file,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_REQUESTS_SECONDS,
            log_config=None,
            access_log=False,
            server_header=False,
        )
        server = _Server(config, ending)
        self._disturbances.connections = server.server_state.connections
        server.run(sockets=[listener])

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_EVERY)
            try:
                await asyncio.to_thread(self._sessions.expire)
                await asyncio.to_thread(self._warehouses.expire)
            except Exception:  # one session that cannot be closed must not keep the others
                logger.exception("cleaning up failed")

    def _description(self) -> dict[str, Any]:
        session = self._sessions.lakehouse.open_session(None, None, {})
        try:
            tables = session.get_tables(None, None, None, None).num_rows
        finally:
            session.close()
        sessions, operations = self._sessions.count()
        return {
            "pid": self._endpoint.pid,
            "engine": self._endpoint.engine,
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "tables": tables,
            "sessions": sessions,
            "operations": operations,
        }


def _first_faults(path: Path) -> list[Fault]:
    if not path.exists():
        return []
    try:
        return faults_from(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise OSError(f"{path} is no script of faults: {error}") from error


def _projects(
    layout: Layout, given: Path | None, certificates: Certificates, addresses: Sequence[str]
) -> Projects:
    if given:
        _write(layout.postgres_programs, str(given))
    programs = None
    if layout.postgres_programs.exists():
        directory = Path(layout.postgres_programs.read_text(encoding="utf-8").strip())
        programs = Programs(directory, find_account())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_file, certificates.server_key_file)
    return Projects(layout.lakebase, programs, context, addresses)


def _probe(lakehouse: Lakehouse) -> None:
    session = lakehouse.open_session(None, None, {})
    try:
        session.execute("SELECT 1")
    finally:
        session.close()


@contextlib.contextmanager
def _held(layout: Layout) -> Iterator[None]:
    """Hold the lock that says that the server lives; the kernel lets it go however the server ends."""
    with layout.lock.open("a+", encoding="utf-8") as file:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # by a server, or for an instant by somebody who looks whether one lives
                if time.monotonic() > end:
                    raise AlreadyRunning(f"another server has {layout.data_dir}") from None
                time.sleep(0.02)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        (layout.data_dir / FILE_NAME).unlink(missing_ok=True)  # of a server that was killed
        yield


class _Server(uvicorn.Server):
    """Says when the end begins."""

    def __init__(self, config: uvicorn.Config, ending: threading.Event) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        self._ending.set()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of the connections that nothing is under way on, then end what is."""
        # An orderly end of TLS waits for the client's half, which a client between two statements never sends.
        connections: Any = list(self.server_state.connections)
        for connection in connections:
            if connection.cycle is None or connection.cycle.response_complete:
                connection.transport.abort()
        await super().shutdown(sockets)


@contextlib.contextmanager
def _ending_in_time() -> Iterator[threading.Event]:
    """Make sure that the first signal ends the process, whatever hangs; gives the event that says it has come.

    uvicorn handles signals while it serves and raises them again afterwards, when cleaning up is still ahead:
    by then they have done their work.
    """
    ending = threading.Event()

    def end(signum: int, _: FrameType | None) -> None:
        if not ending.is_set():
            ending.set()
            raise SystemExit(128 + signum)

    def cut_off() -> None:
        ending.wait()
        time.sleep(_END_SECONDS)
        os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    threading.Thread(target=cut_off, daemon=True).start()
    yield ending


def _write(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text + "\n", encoding="utf-8")
    new.chmod(0o600)
    new.replace(path)
