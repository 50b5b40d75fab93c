"""docs/reference.md, made from the code: commands, settings, exit codes. ``--check`` fails when it has drifted."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from dqctl.cli.app import app
from dqctl.errors import ExitCode
from dqctl.settings import Settings, variable

PAGE = Path("docs/reference.md")

_EXIT_CODES = {
    ExitCode.DONE: "done, and the data is good",
    ExitCode.DATA_TESTS_FAILED: "data tests failed (by `--fail-on`)",
    ExitCode.USAGE: "usage or settings",
    ExitCode.ENVIRONMENT: "environment: disk, network, a port, a service that does not answer",
    ExitCode.TESTGEN: "TestGen failed: a job or a test errored, output unreadable",
    ExitCode.NOT_PUBLISHED: "results are safe but not yet published",
    ExitCode.BUSY: "busy: another process holds the lock",
    ExitCode.DATABRICKS_REFUSED: "Databricks refused: authentication or permission",
}


def page() -> str:
    """The page as Markdown."""
    return "\n".join(
        [
            "# Reference",
            "",
            "Made from the code by `python -m dqctl.cli.reference`; `scripts/check` fails when it has drifted.",
            "",
            "## Commands",
            "",
            "The options of `dqctl` itself may stand behind a command too.",
            "",
            *_commands(typer.main.get_command(app), "dqctl"),
            "## Settings",
            "",
            "By flag, by variable, by file, in that order. The files are the stack's `settings.toml` (written by "
            "`dqctl install`) and `settings.toml` in the home of all stacks, or the file that `DQCTL_CONFIG` "
            "names. Secrets come by variable or by a file that `<VARIABLE>_FILE` names, never by a settings file.",
            "",
            "| setting | variable | default | meaning |",
            "|---|---|---|---|",
            *_settings(),
            "",
            "## Exit codes",
            "",
            "| code | word | meaning |",
            "|---|---|---|",
            *(f"| {int(code)} | `{code.word}` | {_EXIT_CODES[code]} |" for code in ExitCode),
            "",
            "The worst wins in the order 7, 3, 4, 5, 6, 1. Ctrl-C ends with 130, SIGHUP 129, SIGTERM 143.",
            "",
        ]
    )


def _commands(command: Any, name: str) -> Iterator[str]:
    children = getattr(command, "commands", {})
    with command.make_context(name, [], resilient_parsing=True, terminal_width=100, max_content_width=100) as made:
        yield from (f"### `{name}`", "", "```text", made.get_help().rstrip(), "```", "")
    for child in children.values():
        yield from _commands(child, f"{name} {child.name}")


def _settings() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        default = "/var/lib/dqctl for root, else ~/.local/share/dqctl" if name == "home" else field.default
        shown = "" if default is None else f"`{default}`"
        yield f"| `{name}` | `{variable(name)}` | {shown} | {field.description} |"


def _main() -> int:
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE} has drifted from the code; run: python -m dqctl.cli.reference\n")
    return 1


if __name__ == "__main__":
    sys.exit(_main())
