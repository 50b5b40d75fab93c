"""Handing test results over to DataOps Observability, each of them once.

A request is written down before it leaves and confirmed when its answer is there (``testgen.exports``). It is sent
again only when it surely was not taken; when nobody knows, its results stay out of every export until a person has
decided, and this export ends: what is not known of one request is not known of the next.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from pydantic import SecretStr

from dqctl.clock import Clock
from dqctl.errors import Busy, DqctlError, MissingSetting
from dqctl.observability.client import Client, ContentRefused, Lost, Receiver
from dqctl.observability.events import Chunk, chunks, envelope, halved
from dqctl.progress import Progress
from dqctl.records import Row
from dqctl.redaction import register
from dqctl.report.words import counted
from dqctl.services.exporting import Doubtful, Tally
from dqctl.settings import Settings, missing
from dqctl.testgen.exports import Doubt, Exports
from dqctl.testgen.reader import MetadataReader

# Results in memory at a time.
_PAGE = 5000
# How often another export may take results that this one is about to send.
_TAKEN = 3


class ObservabilityExporter:
    """What TestGen queued for export, run by run."""

    def __init__(
        self, settings: Settings, reader: MetadataReader, exports: Exports, clock: Clock, *, dry_run: bool
    ) -> None:
        """Raises ``MissingSetting`` when neither the settings nor any project say where to, and, but for a
        ``dry_run``, by which key.
        """
        self._settings = settings
        self._dry_run = dry_run
        self._reader = reader
        self._exports = exports
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._refused: dict[str, str] = {}
        self._receivers = self._find_receivers()

    @property
    def target(self) -> str:
        """The receivers' URLs."""
        return ", ".join(sorted({receiver.url for receiver in self._receivers.values()}))

    @property
    def refused(self) -> Mapping[str, str]:
        """See ``Exporter``."""
        return self._refused

    def prepare(self, doubtful: Doubtful, progress: Progress) -> None:
        """Decide about requests in doubt."""
        for doubt in () if doubtful is Doubtful.LEAVE else self._exports.doubts():
            what = f"{counted(len(doubt.results), 'result')} of run {doubt.run_id}"
            if doubtful is Doubtful.RESEND:
                self._exports.release(doubt.id)
                progress(f"{what} will be sent again")
            else:
                self._exports.sent(doubt.id)
                progress(f"{what} are taken to have been delivered")

    def waiting(self) -> Sequence[str]:
        """Runs with results that TestGen queued, of projects that have a receiver."""
        counts, known = self._reader.queued_counts(), self._subjects
        with self._reader.stored(list(counts)) as stored:
            return [
                each.run["run_id"]
                for each in stored
                # A suite whose table group is gone belongs to no dataset of the receiver.
                if each.run["system"] in self._receivers and each.run["test_suite_id"] in known
            ]

    def requests(self, run: Row) -> Iterator[tuple[int, bytes]]:
        """See ``Exporter``."""
        offset = 0
        while rows := self._reader.queued(run["run_id"], _PAGE, offset=offset):
            offset += len(rows)
            yield from ((len(chunk.results), chunk.body) for chunk in self._chunks(run, rows))

    def deliver(self, run: Row, tally: Tally, progress: Progress) -> None:
        """See ``Exporter``. Raises what ``Client.send`` raises, and ``Busy`` when another takes the same."""
        name = f"{run['system']}/{run['test_suite']}"
        left = self._reader.queued_counts().get(run["run_id"], 0)
        taken = 0
        while rows := self._reader.queued(run["run_id"], _PAGE, without=self._refused):
            waiting = deque(self._chunks(run, rows))
            while waiting:
                chunk = waiting.popleft()
                progress(f"exporting {name}: {counted(left - tally.results, 'result')} to go")
                request = self._claim(run, chunk)
                if request is None:
                    taken += 1
                    if taken > _TAKEN:
                        raise Busy(f"another export sends results of {name}", "try again when it is done")
                    break  # and read what is left
                if self._sent(run, request, chunk):
                    tally.add(len(chunk.results), len(chunk.body))
                elif len(chunk.results) > 1:
                    waiting.extendleft(reversed(halved(chunk)))

    def doubts(self) -> tuple[Doubt, ...]:
        """See ``Exporter``."""
        return self._exports.doubts()

    def _claim(self, run: Row, chunk: Chunk) -> str | None:
        return self._exports.claim(
            self._receivers[run["system"]].url,
            run["run_id"],
            chunk.results,
            hashlib.sha256(chunk.body).hexdigest(),
        )

    def _sent(self, run: Row, request: str, chunk: Chunk) -> bool:
        """Whether the receiver has the request; False when it dislikes one of its outcomes."""
        try:
            self._client(run["system"]).send(chunk.body)
        except Lost:
            raise
        except ContentRefused as refusal:
            self._exports.release(request)
            if not refusal.is_outcome:
                raise
            if len(chunk.results) == 1:
                self._refused[chunk.results[0]] = refusal.message
            return False
        except DqctlError:
            self._exports.release(request)
            raise
        self._exports.sent(request)
        return True

    def _chunks(self, run: Row, rows: Sequence[Row]) -> Iterator[Chunk]:
        return chunks(envelope(self._subjects[run["test_suite_id"]], self._clock.now()), rows)

    def _client(self, system: str) -> Client:
        if system not in self._clients:
            self._clients[system] = Client(self._receivers[system], self._settings.export_timeout, self._clock)
        return self._clients[system]

    @cached_property
    def _subjects(self) -> Mapping[str, Row]:
        return {row["test_suite_id"]: row for row in self._reader.export_subjects()}

    def _find_receivers(self) -> dict[str, Receiver]:
        """The receiver of each project that has one: the settings go before what TestGen's project says."""
        found = {}
        for code, url, key in self._reader.observability():
            register(key)
            wanted_url = self._settings.observability_url or url
            wanted_key = self._settings.observability_key or (SecretStr(key) if key else None)
            if wanted_url and (wanted_key or self._dry_run):
                receiver = Receiver(
                    wanted_url,
                    wanted_key or SecretStr(""),
                    self._settings.ca_bundle,
                    self._settings.export_timeout,
                )
                _ = receiver.endpoint  # a URL that is none is said before anything is done
                found[code] = receiver
        if not found:
            raise _nowhere(self._settings)
        return found


def _nowhere(settings: Settings) -> MissingSetting:
    name = "observability_key" if settings.observability_url else "observability_url"
    error = missing(settings, name)
    return MissingSetting(
        error.message,
        f"{error.hint}; the project's settings in TestGen ({name.replace('observability', 'observability_api')})",
    )
