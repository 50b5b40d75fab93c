"""Where everything of a stack lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StackPaths:
    """The paths of one stack below the home of all stacks.

    Shared by all stacks: ``environments/`` (TestGen and PostgreSQL programs, by version). The stack's own:

        stacks/<name>/stack.json      what is installed (StackRecord), no secrets
        stacks/<name>/settings.toml   settings that install was given, no secrets
        stacks/<name>/secrets/        0700, files 0600: passwords, keys, TestGen's config.env
        stacks/<name>/postgres/       local: the database cluster and its logs, owned by the account that runs it
        stacks/<name>/images.json     docker: the images, pinned
        stacks/<name>/compose.yaml    docker: the Compose definition
        stacks/<name>/mounted/        docker: 0700; what the containers read, a directory each
        stacks/<name>/reports/        reports by run
        stacks/<name>/logs/           what TestGen and uv said, without secrets
        stacks/<name>/schedules/      0700: what runs by itself, a file each, without secrets
        stacks/<name>/work/           homes of single calls, removed afterwards
        stacks/<name>/backups/        0700: copies of the metadata, a directory each
        stacks/<name>/aside.json      databases of a command that tries something, dropped afterwards
        stacks/<name>/lock            held while a command changes the stack
        stacks/<name>/rotation.lock   held while secrets are rotated; secrets/rotation.json is there meanwhile
    """

    home: Path
    name: str

    @property
    def root(self) -> Path:
        """The stack's directory."""
        return self.home / "stacks" / self.name

    @property
    def environments(self) -> Path:
        """Programs that all stacks share, one directory a version."""
        return self.home / "environments"

    @property
    def record(self) -> Path:
        """What is installed."""
        return self.root / "stack.json"

    @property
    def settings(self) -> Path:
        """Settings that ``install`` was given."""
        return self.root / "settings.toml"

    @property
    def secrets(self) -> Path:
        """The private directory."""
        return self.root / "secrets"

    @property
    def postgres(self) -> Path:
        """The database cluster and its logs."""
        return self.root / "postgres"

    @property
    def images(self) -> Path:
        """The pinned images."""
        return self.root / "images.json"

    @property
    def compose(self) -> Path:
        """The Compose definition."""
        return self.root / "compose.yaml"

    @property
    def mounted(self) -> Path:
        """What the containers read: files with secrets, a directory each."""
        return self.root / "mounted"

    @property
    def reports(self) -> Path:
        """Reports that were written."""
        return self.root / "reports"

    @property
    def logs(self) -> Path:
        """Logs."""
        return self.root / "logs"

    @property
    def backups(self) -> Path:
        """Copies of the metadata."""
        return self.root / "backups"

    @property
    def schedules(self) -> Path:
        """What runs by itself."""
        return self.root / "schedules"

    @property
    def work(self) -> Path:
        """Homes of single calls of TestGen."""
        return self.root / "work"

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.root / "lock"
