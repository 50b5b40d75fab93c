"""What TestGen's sessions on Databricks are asked for when they open, by the kind of job that opens them.

TestGen profiles a text column with ``to_date(column, format)`` for nine formats and counts what is not NULL
(5.33.3 to 5.134.0). On a SQL warehouse the first text that is no date raises instead, by either of two defaults:
``ANSI_MODE`` true; and, whatever that is, ``LEGACY_TIME_PARSER_POLICY`` EXCEPTION, wherever the parsers of Spark 2
and Spark 3 disagree (seen on Spark 4.2.0: ``to_date('2013-01-01 05:00:00', 'yyyy-MM-dd')``; Databricks' pages give
EXCEPTION as the default, newer ones CORRECTED). Both are parameters that any user may set for a session.

Tests keep the warehouse's own mode: with ANSI mode off, a cast that fails or a sum that overflows would turn from
an error into a result.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

ProfileAnsi = Literal["off", "as-is"]
"""Whether profiles run with ANSI mode off, or as the warehouse has it."""

_PROFILE_JOB = "run-profile"
_PROFILING = {"ANSI_MODE": "false", "LEGACY_TIME_PARSER_POLICY": "CORRECTED"}


def parameters(job_key: str, ansi: ProfileAnsi) -> Mapping[str, str]:
    """The session parameters for jobs of TestGen's ``job_key``."""
    return dict(_PROFILING) if ansi == "off" and job_key == _PROFILE_JOB else {}


def job_program(ansi: ProfileAnsi) -> str:
    """Source that asks for them in a process that TestGen's scheduler starts: ``PROGRAM exec-job ID``."""
    wanted = parameters(_PROFILE_JOB, ansi)
    if not wanted:
        return ""
    source = (files(__package__) / "driver" / "prepare.py").read_text(encoding="utf-8")
    return (
        "import sys\n"
        "if sys.argv[1:2] == ['exec-job']:\n"
        "    names = {'__name__': 'dqctl_prepare'}\n"
        f"    exec(compile({source!r}, '<dqctl: prepare>', 'exec'), names)\n"
        f"    names['prepare_job'](sys.argv[2], {_PROFILE_JOB!r}, {wanted!r})\n"
    )
