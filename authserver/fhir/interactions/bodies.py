"""Read the body of a write: one JSON object, of the type and id that the path says. PURE."""

from collections.abc import Mapping
from typing import Any

from authserver.errors import BadRequest, UnsupportedMediaType
from authserver.fhir import exact_json
from authserver.fhir.tenancy import SHARED

JSON_TYPES = ("application/fhir+json", "application/json")
PATCH_TYPE = "application/json-patch+json"

Resource = dict[str, Any]


class UnsupportedPatch(UnsupportedMediaType):
    """A patch in another form than JSON Patch."""

    default_public = f"The Content-Type of a patch must be {PATCH_TYPE}."


def json_body(data: bytes, media_type: str) -> Any:
    """Return the JSON of a body. Raises UnsupportedMediaType (row C3) and BadRequest."""
    if media_type not in JSON_TYPES:
        raise UnsupportedMediaType
    return parsed(data)


def patch_body(data: bytes, media_type: str) -> Any:
    """Return the JSON of a patch's body. Raises UnsupportedPatch and BadRequest."""
    if media_type != PATCH_TYPE:
        raise UnsupportedPatch
    return parsed(data)


def parsed(data: bytes) -> Any:
    """Return the JSON of UTF-8 text with no member twice, so that no two readers read it differently (row B6)."""
    try:
        return exact_json.loads(data.decode("utf-8"), unique=True)
    except (exact_json.NotJson, UnicodeDecodeError) as error:
        raise BadRequest("The body is no JSON, or has a member twice.", reason="json_malformed") from error


def typed(body: Any, resource_type: str) -> Resource:
    """Return the body as a resource of the type that the path names. Raises BadRequest (rows C4, C5)."""
    if not isinstance(body, dict):
        raise BadRequest("The body must be a resource.", reason="resource_malformed")
    if "resourceType" not in body:
        raise BadRequest("The resource has no resourceType.", reason="resource_malformed")
    if body["resourceType"] != resource_type:
        raise BadRequest("The resourceType is not the path's.", reason="resource_type_mismatch")
    return body


def identified(resource: Resource, resource_id: str) -> Resource:
    """Return the resource if its id is the path's. Raises BadRequest (http://hl7.org/fhir/R4/http.html#update)."""
    if resource.get("id") != resource_id:
        raise BadRequest("The resource's id is not the path's.", reason="id_mismatch")
    return resource


def with_tenant_tag(resource: Mapping[str, Any], *, tenant: str, system: str, shared: bool = False) -> Resource:
    """Return the resource with exactly one tag of the system, the tenant's; none where there is no tenant.

    What the client sent of that system is removed, from contained resources too (rows B3, B6; threats H05, H06). With
    `shared` the tag that shares the resource with the tenants below stands beside the tenant's (row X24).
    """
    tagged = dict(resource)
    if isinstance(resource.get("contained"), list):
        tagged["contained"] = [
            with_tenant_tag(one, tenant="", system=system) if isinstance(one, dict) else one
            for one in resource["contained"]
        ]
    meta = resource.get("meta", {})
    if not isinstance(meta, dict):
        return tagged
    tags = meta.get("tag", [])
    if not isinstance(tags, list):
        return tagged
    kept = [tag for tag in tags if not (isinstance(tag, dict) and tag.get("system") == system)]
    codes = (tenant, SHARED) if shared else (tenant,)
    own = [{"system": system, "code": code} for code in codes] if tenant else []
    rest = {name: value for name, value in meta.items() if name != "tag"}
    if kept or own or (tags == [] and "tag" in meta):
        rest["tag"] = [*kept, *own]
    if rest or "meta" not in resource:
        return {**tagged, "meta": rest} if rest else tagged
    return {name: value for name, value in tagged.items() if name != "meta"}


def is_shared(resource: Mapping[str, Any], *, system: str) -> bool:
    """Say whether the resource has the tag that shares it with the tenants below."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    listed = tags if isinstance(tags, list) else []
    return any(isinstance(tag, dict) and (tag.get("system"), tag.get("code")) == (system, SHARED) for tag in listed)
