"""Everything behind the wire of one data directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dqctl.localworkspace.contract import Lakehouse, Session, StatementError
from dqctl.localworkspace.engine import Engine, open_engine
from dqctl.localworkspace.session import LocalSession


class LocalLakehouse:
    """Implements ``contract.Lakehouse``."""

    def __init__(self, data_dir: Path, engine: Engine, catalogs: Sequence[str]) -> None:
        self._data_dir = data_dir
        self._engine = engine
        self._catalogs = tuple(catalogs)

    def open_session(self, catalog: str | None, schema: str | None, configuration: Mapping[str, str]) -> Session:
        """A new session."""
        return LocalSession(
            self._engine.open_session(), catalog or self._catalogs[0], schema or "default", configuration
        )

    def volume_file(self, path: str) -> Path:
        """The file on disk of ``/Volumes/...``."""
        raise StatementError("VOLUME_NOT_FOUND", f"there is no volume at {path}", "42704")

    def close(self) -> None:
        """Stop the engine."""
        self._engine.close()


def open_lakehouse(data_dir: Path, *, engine: str = "sail", catalogs: Sequence[str] = ("main",)) -> Lakehouse:
    """The lakehouse in ``data_dir``, made when it is not there yet."""
    data_dir.mkdir(parents=True, exist_ok=True)
    return LocalLakehouse(data_dir, open_engine(engine), catalogs)
