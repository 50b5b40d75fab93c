"""What is wrong with a stack and its surroundings, and the command that mends it; and an archive for support."""

from dqctl.services.doctor.examination import Diagnosis, examine
from dqctl.services.doctor.findings import Finding, Verdict

__all__ = ["Diagnosis", "Finding", "Verdict", "examine"]
