"""``export`` without a stack: options that contradict each other change nothing."""

from pathlib import Path

import pytest

from command_line import CommandLine


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--resend-doubtful", "--assume-delivered"), "decide for one of them"),
        (("--show",), "add --dry-run"),
        (("--file", "events.jsonl"), "add --to openlineage"),
        (("--with-samples",), "add --to openlineage"),
        (("--since", "yesterday"), "yesterday"),
        ((), "is not installed"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    said = CommandLine(tmp_path)("export", *options, code=2)
    assert says in said.err
    assert not list(tmp_path.iterdir())
