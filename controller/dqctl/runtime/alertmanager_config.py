"""An Alertmanager configuration of somebody's own, read by Alertmanager's own amtool before it is mounted.

With a mistake in it Alertmanager would not start, and nobody would be told of anything any more.
"""

import re

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import Progress
from dqctl.redaction import redact
from dqctl.runtime import compose
from dqctl.runtime.compose import Files
from dqctl.settings import Settings
from dqctl.stack.images import Images
from dqctl.stack.paths import StackPaths

_AMTOOL = "/bin/amtool"
# What docker itself answers: it does not start anything, and the image has no such program.
_NOT_STARTED, _NO_PROGRAM = 125, (126, 127)
# The parser quotes what it cannot read, which may be a password.
_QUOTED = re.compile(r"`[^`]*`")
_LONGEST = 400


def check(paths: StackPaths, settings: Settings, images: Images, files: Files, progress: Progress) -> None:
    """Check it if it is about to change; ``UsageError`` with what is wrong with it."""
    image = images.monitoring.get("alertmanager")
    path = paths.mounted / "alertmanager" / "alertmanager.yaml"
    if settings.alertmanager_config is None or image is None or path not in files.differing():
        return
    done = compose.run_once(image.id, _AMTOOL, "check-config", stdin=files.content[path][0])
    if done.exit_code in _NO_PROGRAM:
        progress(f"{image.reference} has no amtool: the Alertmanager configuration goes in unchecked")
    elif done.exit_code == _NOT_STARTED:
        raise EnvironmentFault(
            f"docker does not run {image.reference}: {redact(done.stderr.strip())[:_LONGEST]}",
            "dqctl doctor looks for the reason; then run the same command again",
        )
    elif done.exit_code:
        said = " ".join(_QUOTED.sub("`…`", done.stdout or done.stderr).split())
        reason = said.partition("FAILED: ")[2] or said
        raise UsageError(
            f"Alertmanager does not take the configuration {settings.alertmanager_config}: {reason[:_LONGEST]}",
            "nothing was changed: mend the file (--alertmanager-config, DQCTL_ALERTMANAGER_CONFIG)",
        )
