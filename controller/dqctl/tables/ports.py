"""What this package needs of a warehouse; ``databricks.warehouse.Warehouse`` provides it."""

from collections.abc import Mapping
from typing import IO, Any, Protocol

import pyarrow as pa


class Statements(Protocol):
    """Runs idempotent statements."""

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Run a statement and return all its rows."""
        ...

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        """Run a statement for its effect; the affected rows if they are told."""
        ...

    def put(self, content: bytes | IO[bytes], volume_path: str) -> None:
        """Write a file in a volume, over the one that is there; a stream from its beginning."""
        ...

    def remove(self, volume_path: str) -> None:
        """Remove a file of a volume."""
        ...
