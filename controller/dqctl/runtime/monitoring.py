"""What watches a stack from beside it: Prometheus, Alertmanager and Grafana, as services of its Compose project.

Nothing of dqctl needs them. A stack whose Prometheus does not run is as healthy as one without.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dqctl.errors import EnvironmentFault
from dqctl.resources import places
from dqctl.settings import Settings
from dqctl.stack.images import Image, Images
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import read_secret

SERVICES = ("prometheus", "alertmanager", "grafana")
GRAFANA_PASSWORD = "grafana_password"  # noqa: S105 - its name

# What each container reads (compose/monitoring/services.yaml.j2), below a directory of its own: Alertmanager's
# configuration may hold secrets, which are nothing for the others. By the file that ships.
_PROVISIONING = "provisioning"
_FILES: Mapping[str, Mapping[str, str]] = {
    "prometheus": {"prometheus.yaml": "prometheus.yaml", "rules.yaml": "rules.yaml"},
    "alertmanager": {"alertmanager.yaml": "alertmanager.yaml"},
    "grafana": {
        f"{_PROVISIONING}/datasources/dqctl.yaml": "grafana-datasource.yaml",
        f"{_PROVISIONING}/dashboards/dqctl.yaml": "grafana-dashboards.yaml",
        "dashboards/dqctl.json": "dashboard.json",
    },
}
# Readable by whatever user the images run as, and for containers only: the directory above is 0700.
_DIR, _FILE = 0o755, 0o444


@dataclass(frozen=True)
class Service:
    """What the template needs to know of one. ``digest`` tells one configuration from another.

    ``port`` is where it is published on 127.0.0.1, empty where the engine chooses.
    """

    image: Image
    port: str
    digest: str


def find_services(paths: StackPaths, settings: Settings, images: Images) -> Mapping[str, Service]:
    """The services that are wanted and have an image; raises what ``files`` does."""
    if not settings.monitoring:
        return {}
    content = files(paths, settings, images)
    ports = {
        "prometheus": settings.prometheus_port,
        "alertmanager": settings.alertmanager_port,
        "grafana": settings.grafana_port,
    }
    found = {}
    for name, image in images.monitoring.items():
        root = _directory(paths, name)
        own = sorted((str(path), text) for path, (text, _) in content.items() if path.is_relative_to(root))
        digest = hashlib.sha256(repr(own).encode()).hexdigest()[:16]
        found[name] = Service(image, str(ports[name] or ""), digest)
    return found


def files(paths: StackPaths, settings: Settings, images: Images) -> dict[Path, tuple[str, int]]:
    """What the containers read: path, content, mode. ``EnvironmentFault`` when one cannot be read."""
    if not settings.monitoring:
        return {}
    found = {
        _directory(paths, name) / inside: (shipped(source), _FILE)
        for name in images.monitoring
        for inside, source in _FILES[name].items()
    }
    if "grafana" in images.monitoring:
        password = read_secret(paths, GRAFANA_PASSWORD).get_secret_value()
        found[_directory(paths, "grafana") / "admin_password"] = (password, _FILE)
    if settings.alertmanager_config:
        try:
            own = settings.alertmanager_config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EnvironmentFault(
                f"Alertmanager's configuration {settings.alertmanager_config} cannot be read: {error}",
                "check --alertmanager-config (DQCTL_ALERTMANAGER_CONFIG)",
            ) from None
        found[_directory(paths, "alertmanager") / "alertmanager.yaml"] = (own, _FILE)
    return found


def shipped(name: str) -> str:
    """A file of ``compose/monitoring``, as it ships."""
    (found,) = [path for place in places("compose/monitoring") if (path := place / name).exists()]
    return found.read_text(encoding="utf-8")


def make_directories(paths: StackPaths, images: Images) -> None:
    """The directories that the containers mount, whole: a file that is replaced is seen inside."""
    for name in images.monitoring:
        root = _directory(paths, name)
        below = {each for inside in _FILES[name] for each in (root / inside).parents if each.is_relative_to(root)}
        for directory in sorted(below):
            directory.mkdir(exist_ok=True)
            directory.chmod(_DIR)


def remove_unused(paths: StackPaths, images: Images) -> None:
    """Remove what containers that are not wanted any more have read; their data stays."""
    for name in SERVICES:
        if name not in images.monitoring:
            shutil.rmtree(_directory(paths, name), ignore_errors=True)


def _directory(paths: StackPaths, service: str) -> Path:
    return paths.mounted / service
