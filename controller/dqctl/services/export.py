"""``export`` as a command of its own: the stack is shared meanwhile, and its state saved afterwards."""

from dataclasses import replace

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import Busy
from dqctl.progress import Progress, silent
from dqctl.services import state
from dqctl.services.export_runs import EVERYTHING, Destination, ExportReport, Selection, hand_over, preview
from dqctl.services.exporting import Doubtful
from dqctl.services.work_session import shared_session
from dqctl.settings import Settings

__all__ = ["Destination", "ExportReport", "Selection", "export", "preview"]


def export(
    settings: Settings,
    destination: Destination,
    selection: Selection = EVERYTHING,
    *,
    doubtful: Doubtful = Doubtful.LEAVE,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> ExportReport:
    """Hand over what waits, the oldest run first. Raises what ``hand_over`` raises."""
    doing = f"export --to {destination.to}"
    with shared_session(settings, doing, progress, clock) as opened:
        report = hand_over(
            settings,
            opened.runtime,
            destination,
            selection,
            doubtful=doubtful,
            wait=settings.lock_timeout,
            progress=progress,
            clock=clock,
        )
        # What was sent is known by the metadata alone: a restore of an older state would send it again.
        unsaved = state.save_after(settings, opened.runtime, doing, progress=progress, clock=clock)
    if unsaved and not isinstance(unsaved, Busy):  # whoever works on the stack saves it, too
        return replace(report, errors=(*report.errors, unsaved))
    return report
