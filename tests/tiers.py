"""What a tier of tests needs, and what happens when this machine does not have it."""

import os
from pathlib import Path

import pytest

TIERS = ("local", "docker", "spark", "live")


def required() -> set[str]:
    """The tiers that have to run: ``DQCTL_TEST_REQUIRE=local,docker``."""
    return {tier for tier in os.environ.get("DQCTL_TEST_REQUIRE", "").split(",") if tier}


def unavailable(tier: str, reason: str) -> None:
    """Skip the test with ``reason``, or let it fail when its tier is required."""
    if tier in required():
        pytest.fail(f"the {tier} tier is required (DQCTL_TEST_REQUIRE) and cannot run: {reason}", pytrace=False)
    pytest.skip(f"the {tier} tier cannot run: {reason}")


def cache() -> Path:
    """Where this machine keeps what several test runs need."""
    if own := os.environ.get("DQCTL_TEST_CACHE"):
        return Path(own).absolute()
    # The account that PostgreSQL runs as cannot look into root's home.
    return Path("/var/cache/dqctl-tests") if os.geteuid() == 0 else Path("~/.cache/dqctl-tests").expanduser()
