"""Where the server keeps its own things in a data directory, and under which name it is known."""

from dataclasses import dataclass
from pathlib import Path

# ``.invalid`` never resolves (RFC 6761), so a client that misses the proxy fails at once: with a name below
# cloud.databricks.com, whose wildcard resolves, it would show its token to Databricks; ``.localhost`` is skipped
# by proxies wherever NO_PROXY says "localhost", and ``.internal`` may be answered by a company's DNS. The SDK and
# the connectors (databricks-sdk 0.156, databricks-sql-connector 4.9.0) treat unknown suffixes as AWS, which
# makes no further lookups.
HOST = "local.dqctl.invalid"


@dataclass(frozen=True)
class Layout:
    """The paths of a data directory that belong to the server.

    server/            0700: token, service-principal.json, signing.key, ca.key, server.key (0600), ca.pem
    server/lock        held by the server as long as it lives; holds its process id
    server/start.lock  held while somebody starts or stops the server
    server/warehouse.json  settings of every warehouse's sessions
    server/warehouses.json  the warehouses, once one was made or changed
    server/postgres-programs  where PostgreSQL's programs are, once Lakebase was asked for
    uploads/           what is being uploaded, until it is a file of a volume
    lakebase/          the projects of Lakebase, a PostgreSQL each
    server/ports.json  the ports of the last time, taken again when they are free
    faults.json        a script of faults to begin with, if somebody put one there
    logs/server.log    what the server has to say
    workspace.json     the endpoint, while the server runs (``endpoint.Endpoint``)
    """

    data_dir: Path

    @property
    def server(self) -> Path:
        """The private directory."""
        return self.data_dir / "server"

    @property
    def lock(self) -> Path:
        """Held by the living server."""
        return self.server / "lock"

    @property
    def start_lock(self) -> Path:
        """Held while the server is started or stopped."""
        return self.server / "start.lock"

    @property
    def ports(self) -> Path:
        """The ports of the last time."""
        return self.server / "ports.json"

    @property
    def warehouse(self) -> Path:
        """Settings of every warehouse's sessions."""
        return self.server / "warehouse.json"

    @property
    def warehouses(self) -> Path:
        """The warehouses."""
        return self.server / "warehouses.json"

    @property
    def postgres_programs(self) -> Path:
        """Holds the path of PostgreSQL's programs."""
        return self.server / "postgres-programs"

    @property
    def uploads(self) -> Path:
        """Files that are not whole yet; on the file system of the volumes, and nobody else's to read."""
        return self.data_dir / "uploads"

    @property
    def lakebase(self) -> Path:
        """Projects of Lakebase."""
        return self.data_dir / "lakebase"

    @property
    def faults(self) -> Path:
        """The script of faults that the server begins with; not the server's to write."""
        return self.data_dir / "faults.json"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.data_dir / "logs" / "server.log"

    def make(self) -> None:
        """Make the directories, for the owner alone."""
        for directory in (self.data_dir, self.server, self.log.parent):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.data_dir.chmod(0o700)
        self.server.chmod(0o700)
