"""The images of a stack, pinned: ``images.json``.

An image is its id, the checksum of its configuration: unlike a registry's digest it is the same however the image
came here (pulled, loaded from an archive, built), and the engine verifies it.
"""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.stack.paths import StackPaths

_ID = r"^sha256:[0-9a-f]{64}$"


class Image(BaseModel):
    """One image. ``reference`` is the name that it was found by, ``version`` that of the program in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str
    id: str = Field(pattern=_ID)
    version: str


class TestGenImage(Image):
    """TestGen's image. ``python`` is the interpreter that TestGen lives in."""

    __test__ = False

    schema_revision: int
    python: str


class Images(BaseModel):
    """All images of a stack. ``controller`` is None where none was asked for, ``postgres`` with Lakebase.

    ``monitoring`` are those of the services that watch it, by service; none where nobody asked for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: TestGenImage
    postgres: Image | None = None
    controller: Image | None = None
    monitoring: dict[str, Image] = Field(default_factory=dict)


def read_images(paths: StackPaths) -> Images | None:
    """The pinned images, None when nothing is pinned yet; ``EnvironmentFault`` when the file is damaged."""
    try:
        return Images.model_validate_json(paths.images.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EnvironmentFault(
            f"{paths.images} cannot be read: {str(error).splitlines()[0]}",
            "remove it and run dqctl install again: it pins the images anew. Data is not touched",
        ) from None


def write_images(paths: StackPaths, images: Images) -> None:
    """Replace the pinned images."""
    write_atomically(paths.images, images.model_dump_json(indent=2) + "\n", PRIVATE_FILE)
