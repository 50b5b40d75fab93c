"""Handing runs over to whoever understands OpenLineage, or into a file.

An event that arrives twice changes nothing, so there is no doubt here: a run counts as delivered when all of its
events were taken, and is sent again as a whole otherwise.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from openlineage.client import OpenLineageClient
from openlineage.client.serde import Serde
from openlineage.client.transport.file import FileConfig, FileTransport

from dqctl.errors import EnvironmentFault, MissingSetting, UsageError
from dqctl.progress import Progress
from dqctl.records import Row
from dqctl.redaction import register
from dqctl.report.lineage import events
from dqctl.services.exporting import Doubtful, Tally
from dqctl.settings import Settings
from dqctl.testgen.exports import Doubt, Exports
from dqctl.testgen.reader import MetadataReader

_PLACES = "OPENLINEAGE_URL (with OPENLINEAGE_API_KEY), OPENLINEAGE_CONFIG, or --file FILE"


class LineageExporter:
    """Test runs and profiles, each as a whole."""

    def __init__(
        self, settings: Settings, reader: MetadataReader, exports: Exports, file: Path | None, *, samples: bool
    ) -> None:
        """Raises ``MissingSetting`` when OpenLineage's own settings say nothing and there is no ``file``."""
        self._settings = settings
        self._reader = reader
        self._exports = exports
        self._samples = samples
        register(os.environ.get("OPENLINEAGE_API_KEY"))
        self._client = _client(file)
        self._target = str(file) if file else _address(self._client)

    @property
    def target(self) -> str:
        """The receiver's URL, or the file."""
        return self._target

    @property
    def refused(self) -> Mapping[str, str]:
        """None: a run that is refused ends the export."""
        return {}

    def prepare(self, doubtful: Doubtful, progress: Progress) -> None:
        """Nothing is ever in doubt."""
        del progress
        if doubtful is not Doubtful.LEAVE:
            raise UsageError(
                "OpenLineage has no requests in doubt", "leave the option out: runs are sent again as they are"
            )

    def waiting(self) -> Sequence[str]:
        """Finished test runs and profiles that the receiver does not have."""
        known = self._exports.recorded(self._target)
        return [
            run.run_id
            for run in self._reader.finished_runs()
            if run.kind in ("test", "profile") and run.run_id not in known
        ]

    def requests(self, run: Row) -> Sequence[tuple[int, bytes]]:
        """See ``Exporter``."""
        return [(_size(event), Serde.to_json(event).encode()) for event in self._events(run)]

    def deliver(self, run: Row, tally: Tally, progress: Progress) -> None:
        """See ``Exporter``. Raises ``EnvironmentFault``."""
        progress(f"exporting {run['kind']} run {run['run_id']} to {self._target}")
        digest = hashlib.sha256()
        for event in self._events(run):
            body = Serde.to_json(event).encode()
            digest.update(body)
            try:
                self._client.emit(event)
            except (OSError, RuntimeError) as error:  # what requests raises is an OSError
                raise EnvironmentFault(f"{self._target} takes no event: {error}", f"check {_PLACES}") from error
            tally.add(_size(event), len(body))
        self._exports.record(self._target, run["run_id"], digest.hexdigest())

    def doubts(self) -> tuple[Doubt, ...]:
        """None, ever."""
        return ()

    def _events(self, run: Row) -> Sequence[Any]:
        subject = self._subjects.get(run["table_groups_id"])
        if subject is None:  # the table group is gone, and with it where the tables were
            return ()
        return events(self._reader.content(run["run_id"]), subject, self._settings.stack, samples=self._samples)

    @cached_property
    def _subjects(self) -> Mapping[str, Row]:
        return {row["table_groups_id"]: row for row in self._reader.export_subjects()}


def _client(file: Path | None) -> OpenLineageClient:
    if file is not None:
        return OpenLineageClient(transport=FileTransport(FileConfig(str(file), append=True)))
    try:
        client = OpenLineageClient()
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"OpenLineage's settings do not fit: {error}", f"mend them: {_PLACES}") from error
    # Without settings the library writes events into its log, and with OPENLINEAGE_DISABLED nowhere.
    if client.transport.kind in ("console", "noop"):
        raise MissingSetting("nothing says where OpenLineage events go", f"set {_PLACES}")
    return client


def _address(client: OpenLineageClient) -> str:
    url = getattr(client.transport, "url", None)
    return str(url or f"OpenLineage ({client.transport.kind})")


def _size(event: Any) -> int:
    """How many assertions, or columns, are in an event."""
    facets = [facet for dataset in event.inputs for facet in dataset.inputFacets.values()]
    return sum(
        len(getattr(facet, "assertions", None) or getattr(facet, "columnMetrics", None) or ()) for facet in facets
    )
