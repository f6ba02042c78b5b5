"""The references of a resource, found and rewritten by the types of its elements. PURE.

A reference is local when it is relative, or absolute below our own base URL.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from authserver.fhir.definitions.converters import LOCAL_REFERENCE
from authserver.fhir.validation.structures import Structures

Key = tuple[str, str]
Resource = Mapping[str, Any]

_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]{0,63})\?(.+)", re.ASCII | re.DOTALL)
_ADDRESSES = frozenset({"uri", "url", "oid", "uuid", "canonical"})


class Links:
    """Knows the structures, and the base URL below which a reference is ours."""

    def __init__(self, structures: Structures, *, base_url: str) -> None:
        self._structures = structures
        self._base = f"{base_url}/"

    def local(self, resource: Resource) -> frozenset[Key]:
        """Return (type, id) of every local reference, those of contained resources among them."""
        texts = (text.removeprefix(self._base) for text in self._texts(resource))
        return frozenset((found[1], found[2]) for text in texts if (found := LOCAL_REFERENCE.fullmatch(text)))

    def conditional(self, resource: Resource) -> frozenset[str]:
        """Return every reference that is a search, `Patient?identifier=x`, as it is written."""
        return frozenset(text for text in self._texts(resource) if conditional_parts(text) is not None)

    def nowhere(self, resource: Resource) -> frozenset[str]:
        """Return every reference that means something inside a Bundle alone: searches, `urn:uuid:` and `urn:oid:`."""
        texts = frozenset(text for text in self._texts(resource) if text.startswith(("urn:uuid:", "urn:oid:")))
        return texts | self.conditional(resource)

    def rewritten(self, resource: Resource, urls: Mapping[str, str]) -> dict[str, Any]:
        """Return the resource with each reference, address and link of a narrative that is one of the urls replaced.

        Source: http://hl7.org/fhir/R4/http.html#trules.
        """

        def change(type_name: str, value: Any) -> Any:
            if type_name in _ADDRESSES and isinstance(value, str):
                return urls.get(value, value)
            if type_name == "xhtml" and isinstance(value, str):
                return _relinked(value, urls)
            if type_name == "Reference" and isinstance(value, Mapping) and isinstance(value.get("reference"), str):
                return {**value, "reference": urls.get(value["reference"], value["reference"])}
            return value

        changed: dict[str, Any] = self._changed(resource, str(resource.get("resourceType")), change)
        return changed

    def _texts(self, resource: Resource) -> Iterator[str]:
        found: list[str] = []

        def collect(type_name: str, value: Any) -> Any:
            if type_name == "Reference" and isinstance(value, Mapping) and isinstance(value.get("reference"), str):
                found.append(value["reference"])
            return value

        self._changed(resource, str(resource.get("resourceType")), collect)
        yield from found

    def _changed(self, value: Any, type_name: str, change: Callable[[str, Any], Any]) -> Any:
        """Return the value with every element below it changed; resources in Bundles are left as they are."""
        structure = self._structures.structure(type_name)
        if structure is None or not isinstance(value, Mapping):
            return change(type_name, value)
        result = {}
        for name, child in value.items():
            member = structure.members.get(name)
            if member is None or (member.type_name == "Resource" and name != "contained"):
                result[name] = child
                continue
            items = [self._changed(one, _type_of(one, member.type_name), change) for one in _listed(child)]
            result[name] = items if isinstance(child, list) else items[0]
        return change(type_name, result)


def conditional_parts(text: str) -> tuple[str, str] | None:
    """Return the type and the query of a reference that is a search, else None."""
    found = _CONDITIONAL.fullmatch(text)
    return (found[1], found[2]) if found else None


def _type_of(value: Any, type_name: str) -> str:
    return str(value.get("resourceType")) if type_name == "Resource" and isinstance(value, Mapping) else type_name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _relinked(div: str, urls: Mapping[str, str]) -> str:
    for old, new in urls.items():
        for quote in ('"', "'"):
            div = div.replace(f"{quote}{old}{quote}", f"{quote}{new}{quote}")
    return div
