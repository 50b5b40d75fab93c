"""What is in an image is looked up once: its id is its content."""

from pathlib import Path

import pytest

from dqctl.runtime.images import kept_or_seen
from dqctl.stack.images import Image

ID, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


class Looks:
    """Counts who had to be looked into."""

    def __init__(self) -> None:
        self.at: list[str] = []

    def __call__(self, reference: str, image: str) -> Image:
        self.at.append(image)
        return Image(reference=reference, id=image, version=f"16.{len(self.at)}")


def test_the_second_stack_looks_no_more_whatever_the_image_is_called(tmp_path: Path) -> None:
    look = Looks()
    assert kept_or_seen(Image, tmp_path, "postgres:16", ID, look).version == "16.1"
    again = kept_or_seen(Image, tmp_path, "mirror/postgres:16", ID, look)
    assert (again.version, again.reference) == ("16.1", "mirror/postgres:16")
    assert kept_or_seen(Image, tmp_path, "postgres:16", OTHER, look).version == "16.2"
    assert look.at == [ID, OTHER]


def test_without_a_place_each_stack_looks_for_itself() -> None:
    look = Looks()
    for _ in range(2):
        kept_or_seen(Image, None, "postgres:16", ID, look)
    assert look.at == [ID, ID]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"reference": "postgres:16"}', "another"])
def test_what_was_cut_off_or_is_of_another_image_is_looked_up_anew(tmp_path: Path, content: str) -> None:
    look = Looks()
    kept_or_seen(Image, tmp_path, "postgres:16", ID, look)
    (file,) = tmp_path.iterdir()
    if content == "another":
        content = Image(reference="postgres:16", id=OTHER, version="1").model_dump_json()
    file.write_text(content)
    assert kept_or_seen(Image, tmp_path, "postgres:16", ID, look).version == "16.2"
    assert kept_or_seen(Image, tmp_path, "postgres:16", ID, look).version == "16.2"
