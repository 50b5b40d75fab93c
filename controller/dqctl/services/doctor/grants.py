"""What the principal may do with the published tables, by Unity Catalog's REST; no warehouse is woken."""

from typing import Any
from urllib.parse import quote

from dqctl.databricks.rest import Answer, RestApi
from dqctl.services.doctor.answers import REST_SECONDS, not_told, user_name
from dqctl.services.doctor.findings import Finding, check, failed, ok, warning
from dqctl.services.doctor.subject import Subject

_UNITY = "/api/2.1/unity-catalog"
_ME = "/api/2.0/preview/scim/v2/Me"

# What a publish needs; the last three travel with larger loads.
ON_SCHEMA = ("USE_SCHEMA", "CREATE_TABLE", "SELECT", "MODIFY", "CREATE_VOLUME", "READ_VOLUME", "WRITE_VOLUME")


@check("databricks.grants", seconds=REST_SECONDS, needs=("databricks.credentials",))
def grants(subject: Subject) -> Finding:
    """Whether this principal may make and fill the tables."""
    rest, target = subject.rest, subject.target
    catalog = rest.get(f"{_UNITY}/catalogs/{quote(target.catalog, safe='')}")
    if catalog.status in (403, 404):
        return failed(
            f"catalog {target.catalog} is not there, or not to be seen: {catalog.reason}",
            f"GRANT USE CATALOG ON CATALOG `{target.catalog}` TO `{_me(rest)}`",
            refused=catalog.status == 403,
        )
    if not catalog.is_good:
        return not_told(catalog)
    name = f"{target.catalog}.{target.schema}"
    schema = rest.get(f"{_UNITY}/schemas/{quote(name, safe='')}")
    if schema.status == 404:
        return _judge(rest, "catalog", target.catalog, catalog, ("USE_CATALOG", "CREATE_SCHEMA"))
    if schema.status == 403:
        return failed(schema.reason, f"GRANT USE SCHEMA ON SCHEMA {name} TO `{_me(rest)}`", refused=True)
    return _judge(rest, "schema", name, schema, ("USE_CATALOG", *ON_SCHEMA))


def _judge(rest: RestApi, kind: str, name: str, securable: Answer, needed: tuple[str, ...]) -> Finding:
    me = rest.get(_ME).document
    groups = {str(group.get("display")) for group in me.get("groups") or ()}
    principals = groups | {str(me.get("userName")), str(me.get("displayName")), "account users"}
    if securable.document.get("owner") in principals:
        return ok(f"{securable.document['owner']} owns {kind} {name}")
    found: set[str] = set()
    page = ""
    while True:
        paging = {"page_token": page} if page else {}
        answer = rest.get(
            f"{_UNITY}/effective-permissions/{kind}/{quote(name, safe='')}", max_results="0", **paging
        )
        if not answer.is_good:
            return not_told(answer, f"ask in a SQL editor: SHOW GRANTS ON {kind.upper()} {name}")
        found |= privileges(answer.document, principals)
        page = answer.document.get("next_page_token") or ""
        if not page:
            break
    missing = [each for each in needed if each not in found and "ALL_PRIVILEGES" not in found]
    if not missing:
        return ok(f"{', '.join(needed)} on {kind} {name}")
    # No failure: of groups within groups, Databricks does not tell everybody.
    return warning(
        f"not granted on {kind} {name}, as far as can be seen: {', '.join(missing)}",
        f"GRANT {', '.join(missing).replace('_', ' ')} ON {kind.upper()} {name} TO `{_me(rest)}`",
    )


def privileges(document: dict[str, Any], principals: set[str]) -> set[str]:
    """The privileges that ``effective-permissions`` names for any of ``principals``."""
    return {
        str(each.get("privilege"))
        for assignment in document.get("privilege_assignments") or ()
        if assignment.get("principal") in principals
        for each in assignment.get("privileges") or ()
    }


def _me(rest: RestApi) -> str:
    return user_name(rest.get(_ME))


CHECKS = (grants,)
