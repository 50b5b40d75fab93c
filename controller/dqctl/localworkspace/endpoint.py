"""How a running local workspace is reached: the one thing that the rest of dqctl knows about it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "workspace.json"


@dataclass(frozen=True)
class Endpoint:
    """A local workspace, as ``<data_dir>/workspace.json`` has it while the workspace runs.

    ``host`` is the name that clients use as ``DATABRICKS_HOST``; it need not resolve. Clients that take a port
    connect to ``address``:``port`` with TLS trusted by ``ca_file``; clients that always use port 443 go through
    the CONNECT proxy ``proxy_url``, which knows ``host``:443 and refuses everything else. ``token_file`` holds
    a personal access token (0600). ``proxy_addresses`` are where the proxy listens beside loopback, on the same
    port: how containers on this machine reach it.
    """

    host: str
    address: str
    port: int
    proxy_url: str
    http_path: str
    ca_file: Path
    token_file: Path
    data_dir: Path
    pid: int
    engine: str
    proxy_addresses: tuple[str, ...] = ()

    @classmethod
    def read(cls, data_dir: Path) -> "Endpoint | None":
        """The endpoint described in ``data_dir``; ``None`` when none is. Whether it answers is not looked at."""
        try:
            found = json.loads((data_dir / FILE_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        for name in ("ca_file", "token_file", "data_dir"):
            found[name] = Path(found[name])
        found["proxy_addresses"] = tuple(found.get("proxy_addresses", ()))
        return cls(**found)

    @property
    def environment(self) -> Mapping[str, str]:
        """With which tools that know nothing of local workspaces reach it, but for the token."""
        return {
            "DATABRICKS_HOST": f"https://{self.host}",
            "DATABRICKS_TOKEN_FILE": str(self.token_file),
            "HTTPS_PROXY": self.proxy_url,
            "SSL_CERT_FILE": str(self.ca_file),
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
        }

    def as_json(self) -> str:
        """The text of the file."""
        return json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}, indent=2)
