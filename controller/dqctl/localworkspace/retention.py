"""What was dropped can come back for seven days, as on Databricks; then its files go."""

import logging
import shutil
import time

from dqctl.localworkspace.catalog import Catalog, Dropped, Table, Volume

SECONDS = 7 * 24 * 3600.0
# Scripts that make and drop tables all day would fill a laptop's disk: of those, the newest are kept.
MOST = 1000

_log = logging.getLogger(__name__)


def expire(catalog: Catalog) -> None:
    """Forget what was dropped too long ago, and delete its files."""
    dropped = catalog.dropped()
    oldest = time.time() - SECONDS
    gone = [one for place, one in enumerate(dropped) if one.at < oldest or place < len(dropped) - MOST]
    if gone:
        purge(catalog, gone)


def purge(catalog: Catalog, gone: list[Dropped]) -> None:
    """Forget these for good. The entries go first: a crash leaves folders that the next start sweeps."""
    catalog.forget_dropped(gone)
    for one in gone:
        for entry in one.entries:
            delete_files(catalog, entry)


def delete_files(catalog: Catalog, entry: Table | Volume) -> None:
    """Delete what is on disk of a managed table or a volume."""
    if isinstance(entry, Volume) or entry.kind == "MANAGED":
        path = catalog.path(entry)
        _log.debug("deleting %s", path)
        shutil.rmtree(path, ignore_errors=True)
