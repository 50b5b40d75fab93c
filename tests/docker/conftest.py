"""A real Docker engine, and the images of this checkout, built where they are missing."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker.errors import DockerException

import docker
from tiers import unavailable

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Images:
    """Tags of the images that a stack is made of."""

    testgen: str
    postgres: str


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(version="auto", timeout=60)
    except DockerException as error:
        unavailable("docker", str(error))
    else:
        yield client
        client.close()


@pytest.fixture(scope="session")
def build_images(engine: docker.DockerClient) -> Callable[..., list[str]]:
    """Run ``scripts/images``, which is quick when nothing changed and lets one build at a time; the tags."""

    def build(*arguments: str, environment: dict[str, str] | None = None) -> list[str]:
        done = subprocess.run(
            [str(_ROOT / "scripts" / "images"), *arguments],
            capture_output=True,
            text=True,
            timeout=290,
            env=environment,
        )
        if done.returncode:
            unavailable("docker", f"scripts/images: {done.stderr.strip()[-500:]}")
        return done.stdout.split()

    return build


@pytest.fixture(scope="session")
def images(build_images: Callable[..., list[str]]) -> Images:
    testgen, postgres = build_images("testgen", "postgres")
    return Images(testgen, postgres)


@pytest.fixture(scope="session")
def controller_image(build_images: Callable[..., list[str]]) -> str:
    (tag,) = build_images("controller")
    return tag
