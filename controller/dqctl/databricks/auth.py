"""As whom dqctl signs in to Databricks, and what of that TestGen can be given.

Databricks' unified authentication has many ways. Two of them, a personal access token and a service principal of
Databricks' own (OAuth M2M), are all that TestGen can be given, and need little or no SDK. The others are the SDK's
business (``sign_in``). Exactly one way is chosen before anybody is asked, and it is pinned: the SDK would go on
looking until it opens a browser.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from dqctl.databricks.profile import Profile
from dqctl.errors import UsageError
from dqctl.settings import Settings, missing


@dataclass(frozen=True)
class PersonalToken:
    """A personal access token."""

    token: SecretStr
    auth_type = "pat"


@dataclass(frozen=True)
class ServicePrincipal:
    """A service principal: OAuth, machine to machine."""

    client_id: str
    secret: SecretStr
    auth_type = "oauth-m2m"


@dataclass(frozen=True)
class SdkAuth:
    """One of the other ways, by the SDK's name; what it needs, the SDK finds in variables and the profile."""

    auth_type: str
    profile: str | None = None


Auth = PersonalToken | ServicePrincipal | SdkAuth


@dataclass(frozen=True)
class Family:
    """One way to sign in: what says that it is meant, and what TestGen's connection gets of it.

    ``keys`` are the SDK's attributes that make it, all of them, in a profile; ``variables`` are theirs in the
    environment. Without any it has to be named by ``auth_type``. ``testgen`` is empty when TestGen cannot use it.
    """

    auth_type: str
    what: str
    keys: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    testgen: str = ""


# The one table of it; docs/operations.md has the same rows, and a test compares them.
FAMILIES = (
    Family(
        "pat",
        "personal access token",
        ("token",),
        ("DATABRICKS_TOKEN",),
        "`project_user` is `token`, `project_pw_encrypted` the token",
    ),
    Family(
        "oauth-m2m",
        "service principal of Databricks",
        ("client_id", "client_secret"),
        ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"),
        "`connect_by_key`; `project_user` is the client id, `project_pw_encrypted` its secret",
    ),
    Family(
        "azure-client-secret",
        "service principal of Microsoft Entra",
        ("azure_client_id", "azure_client_secret"),
        ("ARM_CLIENT_ID", "ARM_CLIENT_SECRET"),
    ),
    Family("azure-cli", "`az login`"),
    Family("databricks-cli", "`databricks auth login`"),
    Family(
        "metadata-service",
        "a metadata service",
        ("metadata_service_url",),
        ("DATABRICKS_METADATA_SERVICE_URL",),
    ),
    Family("env-oidc", "an identity token in a variable", ("oidc_token_env",), ("DATABRICKS_OIDC_TOKEN_ENV",)),
    Family(
        "file-oidc",
        "an identity token in a file",
        ("oidc_token_filepath",),
        ("DATABRICKS_OIDC_TOKEN_FILEPATH",),
    ),
    Family("github-oidc", "GitHub Actions"),
    Family("github-oidc-azure", "GitHub Actions, on Azure"),
    Family("azure-devops-oidc", "Azure DevOps"),
    Family("google-credentials", "Google service account key", ("google_credentials",), ("GOOGLE_CREDENTIALS",)),
    Family(
        "google-id",
        "Google service account",
        ("google_service_account",),
        ("DATABRICKS_GOOGLE_SERVICE_ACCOUNT",),
    ),
)
_TYPES = tuple(family.auth_type for family in FAMILIES)
_BROWSER = "external-browser"
PRINCIPAL = "the service principal"
SEE_TOOLS = "see whether Databricks' own tools get in the same way: databricks auth describe"
INSTEAD = (
    "make a service principal with an OAuth secret for TestGen (Settings > Identity and access), and write it as "
    "the connection's credentials: {client_id: ID, client_secret: {env: NAME}}; or sign in as it yourself: "
    "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
)


class NoToken(ValueError):  # noqa: N818 - named for what it is, as dqctl's errors are
    """The SDK got no token; raised in a callback of the connector too. ``auth_type`` is the SDK's name of the way.

    The connector makes an error of its own of it and keeps the text alone (4.9.0): by its words ``failures`` knows
    it again.
    """

    def __init__(self, reason: Exception, auth_type: str = "oauth-m2m") -> None:
        super().__init__(f"{PRINCIPAL if auth_type == 'oauth-m2m' else auth_type} got no token: {reason}")


def family_of(auth: Auth) -> Family:
    """The row of the table that ``auth`` belongs to."""
    return next(family for family in FAMILIES if family.auth_type == auth.auth_type)


def choose_auth(settings: Settings, profile: Profile | None, environment: Mapping[str, str]) -> Auth:
    """The one way to sign in that ``settings``, then ``profile``, then ``environment`` speak of.

    Raises ``MissingSetting`` naming every place that was looked at; ``UsageError`` for two ways at once
    (Databricks' own tools refuse that too, guessing would pick the wrong one), for an unknown one, for a browser.
    """
    pinned = settings.databricks_auth_type or (profile.plain("auth_type") if profile else "")
    of_profile = _families_of(profile)
    if pinned:
        _check(pinned)
    elif profile:
        _refuse_two_ways(settings, profile, of_profile)
    if pinned not in ("", "pat", "oauth-m2m"):
        return SdkAuth(pinned, profile.name if profile else None)
    found = _find(settings, profile)
    if not pinned and found.token and found.principal:
        raise UsageError(
            "a personal access token and a service principal are both set",
            "unset DATABRICKS_TOKEN, or unset DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET; "
            "or say which one counts: DATABRICKS_AUTH_TYPE=pat or oauth-m2m",
        )
    if found.token and pinned != "oauth-m2m":
        return PersonalToken(found.token)
    if found.client_id and found.secret and pinned != "pat":
        return ServicePrincipal(found.client_id, found.secret)
    if not pinned and not found.secret and (other := of_profile or families_in(environment)):
        return SdkAuth(other[0], profile.name if profile else None)
    raise _incomplete(settings, profile, pinned, found)


@dataclass(frozen=True)
class _Found:
    """What of the two ways that need no SDK there is."""

    token: SecretStr | None
    client_id: str | None
    secret: SecretStr | None

    @property
    def principal(self) -> bool:
        return bool(self.client_id or self.secret)


def _find(settings: Settings, profile: Profile | None) -> _Found:
    # An empty token is no token: the connector would open a browser to log in.
    own = _Found(
        _set(settings.databricks_token), settings.databricks_client_id, _set(settings.databricks_client_secret)
    )
    if profile is None:
        return own
    return _Found(
        own.token or profile.values.get("token"),
        own.client_id or profile.plain("client_id") or None,
        own.secret or profile.values.get("client_secret"),
    )


def _incomplete(settings: Settings, profile: Profile | None, pinned: str, found: _Found) -> UsageError:
    """What to say where there is no way to sign in."""
    if pinned == "pat":
        return missing(settings, "databricks_token")
    if found.client_id:
        return missing(settings, "databricks_client_secret")
    if found.secret or pinned:
        return missing(settings, "databricks_client_id")
    if profile:
        return UsageError(
            f"{profile} says nothing about how to sign in",
            f"add auth_type to it, one of {', '.join(_TYPES)}, or set DATABRICKS_AUTH_TYPE",
        )
    return missing(settings, "databricks_token", "databricks_client_id", "databricks_config_profile")


def _refuse_two_ways(settings: Settings, profile: Profile, of_profile: tuple[str, ...]) -> None:
    own = (settings.databricks_token, settings.databricks_client_id, settings.databricks_client_secret)
    if any(own) and of_profile:
        raise UsageError(
            f"{profile} has credentials ({of_profile[0]}), and there are others in variables",
            "unset DATABRICKS_TOKEN, DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or the profile; "
            "or say which ones count: DATABRICKS_AUTH_TYPE",
        )
    if len(of_profile) > 1:
        raise UsageError(f"{profile} has credentials of {' and '.join(of_profile)}", "set its auth_type")


def _check(auth_type: str) -> None:
    if auth_type == _BROWSER:
        raise UsageError(
            "auth type external-browser opens a browser, and dqctl runs where nobody sits",
            "sign in once with: databricks auth login, and set DATABRICKS_AUTH_TYPE=databricks-cli; or use a "
            "service principal",
        )
    if auth_type not in _TYPES:
        raise UsageError(
            f"auth type {auth_type!r} is none that dqctl knows", f"set one of {', '.join(_TYPES)}, or none"
        )


def _families_of(profile: Profile | None) -> tuple[str, ...]:
    """What ``profile`` has complete credentials of."""
    if profile is None:
        return ()
    families = (family for family in FAMILIES if family.keys)
    return tuple(each.auth_type for each in families if all(key in profile.values for key in each.keys))


def families_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The auth types that variables speak of, beyond tokens and service principals, which are settings."""
    return tuple(
        family.auth_type
        for family in FAMILIES
        if family.variables and not family.testgen and all(environment.get(name) for name in family.variables)
    )


def _set(secret: SecretStr | None) -> SecretStr | None:
    return secret if secret and secret.get_secret_value().strip() else None
