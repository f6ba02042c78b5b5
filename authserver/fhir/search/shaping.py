"""Cut matches down to what `_summary` and `_elements` ask for, and mark them as incomplete.

http://hl7.org/fhir/R4/search.html#summary; a resource that was cut carries the tag SUBSETTED, so that nobody writes it
back as if it were whole.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from authserver.fhir import exact_json
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.controls import Shape
from authserver.fhir.store.port import Stored

_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}
_ALWAYS: Final = ("resourceType", "id", "meta")


def shaped(match: Stored, shape: Shape, definitions: Definitions) -> Stored:
    """Return the resource in the shape; as it is when nothing is to be left out."""
    if not shape.elements and shape.summary in ("false", "count"):
        return match
    resource = exact_json.loads(match.body)
    kept = _kept(resource, shape, definitions)
    tags = kept.get("meta", {}).get("tag", [])
    kept["meta"] = {**kept.get("meta", {}), "tag": [*tags, _SUBSETTED]}
    return replace(match, body=exact_json.dumps(kept))


def _kept(resource: Mapping[str, Any], shape: Shape, definitions: Definitions) -> dict[str, Any]:
    mandatory = definitions.mandatory(resource["resourceType"])
    if shape.elements:
        return _only(resource, {*_ALWAYS, *mandatory, *shape.elements})
    if shape.summary == "text":
        return _only(resource, {*_ALWAYS, *mandatory, "text"})
    if shape.summary == "data":
        return {name: value for name, value in resource.items() if name != "text"}
    return _by_paths(resource, {*_ALWAYS, *definitions.summary(resource["resourceType"])}, prefix="")


def _only(resource: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    # `_name` holds the id and the extensions of the primitive `name` (http://hl7.org/fhir/R4/json.html#primitive).
    return {name: value for name, value in resource.items() if name.removeprefix("_") in names}


def _by_paths(element: Mapping[str, Any], paths: Collection[str], prefix: str) -> dict[str, Any]:
    """Return the members that the paths name, and below those with paths of their own these alone."""
    kept: dict[str, Any] = {}
    for name, value in element.items():
        path = prefix + name.removeprefix("_")
        if path in paths:
            deeper = any(one.startswith(f"{path}.") for one in paths)
            kept[name] = _inside(value, paths, f"{path}.") if deeper else value
    return kept


def _inside(value: Any, paths: Collection[str], prefix: str) -> Any:
    if isinstance(value, list):
        return [_inside(item, paths, prefix) for item in value]
    return _by_paths(value, paths, prefix) if isinstance(value, Mapping) else value
