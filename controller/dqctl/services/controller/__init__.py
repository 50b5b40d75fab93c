"""The sidecar, ``dqctl controller run``: sees what happens in a stack, and does what is left to do.

``loop`` turns once a second: ``leading`` (one of several leads), ``watch`` (a cheap look at the metadata),
``timetable`` (schedules), and ``rounds``, which has ``round_process`` start ``dqctl controller once`` (``round``)
where there is something to do. ``endpoints`` answers monitoring, out of ``standing``.
"""
