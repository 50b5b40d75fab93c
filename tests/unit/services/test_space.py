"""Space is looked for before anything is begun."""

import shutil
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.services.space import require_space


def test_enough_space_says_nothing(tmp_path: Path) -> None:
    require_space(tmp_path, 0, "a backup")
    require_space(2 * 10**9, 10**9, "a copy")


def test_too_little_space_names_the_place_what_is_needed_and_what_is_missing(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(EnvironmentFault, match="no space for a backup") as raised:
        require_space(tmp_path, free + 10**12, "a backup")
    assert str(tmp_path) in raised.value.message
    assert "nothing was changed" in raised.value.hint


def test_a_margin_is_left_for_what_others_write() -> None:
    with pytest.raises(EnvironmentFault, match="1,100 MB are needed where PostgreSQL keeps its databases"):
        require_space(10**9 + 1, 10**9, "a copy")
