"""The invariants that are small enough to be written by hand: dom-*, ext-1, ref-1, per-1, bdl-*. PURE.

They run on resources whose structure is right. Source: the constraints of http://hl7.org/fhir/R4/domainresource.html,
extensibility.html, references.html, datatypes.html#Period, bundle.html.
"""

from collections.abc import Callable, Mapping
from typing import Any

from authserver.fhir.validation.findings import Findings
from authserver.protocol.instants import date_range

Resource = Mapping[str, Any]
_Element = tuple[Mapping[str, Any], str]

_SEARCHED, _LOGGED = ("searchset",), ("batch", "transaction", "history")
_ANSWERED = ("batch-response", "transaction-response", "history")


def check(resource: Resource, found: Findings) -> None:
    """Add what the invariants find."""
    _one_resource(resource, resource["resourceType"], found)


def _one_resource(resource: Resource, path: str, found: Findings) -> None:
    elements: list[_Element] = []
    nested: list[_Element] = []
    _collect(resource, path, elements, nested)
    local: set[str] = set()
    for element, where in elements:
        _extension(element, where, found)
        if "start" in element:
            _period(element, where, found)
        for text in element.values():
            if isinstance(text, str) and text[:1] == "#":
                local.add(text)
    contained = [inner for inner in resource.get("contained", []) if isinstance(inner, Mapping)]
    _contained(contained, path, local, found)
    if resource["resourceType"] == "Bundle":
        _bundle(resource, path, found)
    for inner, where in nested:
        _one_resource(inner, where, found)


def _collect(value: Any, path: str, elements: list[_Element], nested: list[_Element]) -> None:
    """Collect every object of a resource with its path; contained resources too, others go to `nested`."""
    if isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, dict | list):
                _collect(item, f"{path}[{position}]", elements, nested)
        return
    elements.append((value, path))
    for name, child in value.items():
        if not isinstance(child, dict | list):
            continue
        if name in ("resource", "outcome") and isinstance(child, dict) and "resourceType" in child:
            nested.append((child, f"{path}.{name}"))
        else:
            _collect(child, f"{path}.{name.removeprefix('_')}", elements, nested)


def _extension(element: Mapping[str, Any], path: str, found: Findings) -> None:
    if "url" not in element or path.rpartition(".")[2].partition("[")[0] not in ("extension", "modifierExtension"):
        return
    has_value = any(name.removeprefix("_").startswith("value") for name in element)
    if has_value is ("extension" in element):
        found.add(path, "An extension has either extensions or a value (ext-1).", "invariant")


def _period(element: Mapping[str, Any], path: str, found: Findings) -> None:
    start, end = element.get("start"), element.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return
    first, last = date_range(start), date_range(end)
    if first is not None and last is not None and first[0] >= last[1]:
        found.add(path, "The start is after the end (per-1).", "invariant")


def _contained(contained: list[Resource], path: str, local: set[str], found: Findings) -> None:
    ids = {f"#{inner.get('id')}" for inner in contained}
    for position, inner in enumerate(contained):
        where, meta = f"{path}.contained[{position}]", inner.get("meta", {})
        for broken, problem in (
            ("contained" in inner, "A contained resource contains none (dom-2)."),
            (f"#{inner.get('id')}" not in local and "#" not in local, "Nothing refers to it (dom-3)."),
            ("versionId" in meta or "lastUpdated" in meta, "A contained resource has no version (dom-4)."),
            ("security" in meta, "A contained resource has no security label (dom-5)."),
        ):
            if broken:
                found.add(where, problem, "invariant")
    if _dangling(contained, local, ids):
        found.add(path, "A reference to a contained resource leads to none (ref-1).", "invariant")


def _dangling(contained: list[Resource], local: set[str], ids: set[str]) -> bool:
    """Say whether a text that looks like a local reference names no contained resource.

    Without contained resources a `#` may begin any text: then only the references themselves are looked at, by the
    references of `references.py`.
    """
    return bool(contained) and any(text not in ids and text != "#" and "/" not in text for text in local)


def _bundle(bundle: Resource, path: str, found: Findings) -> None:
    kind, entries = bundle["type"], bundle.get("entry", [])
    for broken, problem in (
        ("total" in bundle and kind not in ("searchset", "history"), "Only searches have a total (bdl-1)."),
        (kind == "document" and not _identified(bundle), "A document has an identifier (bdl-9)."),
        (kind == "document" and "timestamp" not in bundle, "A document has a date (bdl-10)."),
        (kind == "document" and _first(entries) != "Composition", "A document starts with its Composition (bdl-11)."),
        (kind == "message" and _first(entries) != "MessageHeader", "A message starts with its header (bdl-12)."),
        (kind != "history" and _repeats(entries), "Each fullUrl stands for one entry (bdl-7)."),
    ):
        if broken:
            found.add(path, problem, "invariant")
    for position, entry in enumerate(entries):
        _entry(kind, entry, f"{path}.entry[{position}]", found)


def _entry(kind: str, entry: Mapping[str, Any], path: str, found: Findings) -> None:
    has: Callable[[str], bool] = entry.__contains__
    empty = not (has("resource") or has("request") or has("response"))
    for broken, problem in (
        (has("search") and kind not in _SEARCHED, "Only entries of searches have search (bdl-2)."),
        (has("request") is not (kind in _LOGGED), "Entries have a request in these Bundles alone (bdl-3)."),
        (has("response") is not (kind in _ANSWERED), "Entries have a response in these Bundles alone (bdl-4)."),
        (empty, "An entry has a resource, a request or a response (bdl-5)."),
        ("/_history/" in entry.get("fullUrl", ""), "A fullUrl names no version (bdl-8)."),
    ):
        if broken:
            found.add(path, problem, "invariant")


def _identified(bundle: Resource) -> bool:
    identifier = bundle.get("identifier", {})
    return "system" in identifier and "value" in identifier


def _first(entries: list[Any]) -> object:
    return entries[0].get("resource", {}).get("resourceType") if entries else None


def _repeats(entries: list[Any]) -> bool:
    urls = [
        (entry["fullUrl"], entry.get("resource", {}).get("meta", {}).get("versionId"))
        for entry in entries
        if "fullUrl" in entry
    ]
    return len(urls) > len(set(urls))
