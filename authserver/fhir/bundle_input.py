"""Turn the content of a file into resources ready to store: transaction Bundles and NDJSON. Knows no store.

In a transaction, ids are given first and references to `urn:uuid:` entries are rewritten to them
(http://hl7.org/fhir/R4/http.html#trules).
"""

import hashlib
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.fhir import exact_json

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)

Key = tuple[str, str]
Resource = dict[str, Any]


class InputError(ValueError):
    """The content cannot be loaded; `where` names the line or entry, counted from 1."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a transaction: its fullUrl, the resource, and the type and id it shall have.

    `id` is None for a POST whose resource has no legal id of its own.
    """

    number: int
    full_url: str
    resource: Resource
    resource_type: str
    id: str | None
    is_put: bool


def transaction_entries(bundle: object, types: Collection[str]) -> list[Entry]:
    """Return the entries of a transaction or batch Bundle. Raises InputError for anything else."""
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise InputError("file", "no Bundle")
    if bundle.get("type") not in ("transaction", "batch", "collection"):
        raise InputError("Bundle.type", "not transaction, batch or collection")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise InputError("Bundle.entry", "no list")
    return [_entry(number, entry, types) for number, entry in enumerate(entries, 1)]


def _entry(number: int, entry: object, types: Collection[str]) -> Entry:
    where = f"entry {number}"
    if not isinstance(entry, dict):
        raise InputError(where, "no object")
    resource = checked_resource(entry.get("resource"), where=where, types=types)
    request = entry.get("request", {"method": "POST"})
    full_url = entry.get("fullUrl", "")
    if not isinstance(request, dict) or not isinstance(full_url, str):
        raise InputError(where, "request or fullUrl is malformed")
    method, url = request.get("method"), request.get("url")
    if method == "PUT" and isinstance(url, str):
        resource_type, _, resource_id = url.partition("/")
        if resource_type != resource["resourceType"] or not ID.fullmatch(resource_id):
            raise InputError(where, "PUT needs the url Type/id of its resource")
        return Entry(number, full_url, resource, resource_type, resource_id, is_put=True)
    if method != "POST" or "ifNoneExist" in request:
        raise InputError(where, "only POST and PUT without conditions can be loaded")
    own_id = resource.get("id")
    legal = own_id if isinstance(own_id, str) and ID.fullmatch(own_id) else None
    return Entry(number, full_url, resource, resource["resourceType"], legal, is_put=False)


def checked_resource(resource: object, *, where: str, types: Collection[str]) -> Resource:
    """Return the value when it is an object of a known resource type, well-formed enough to store."""
    if not isinstance(resource, dict):
        raise InputError(where, "no resource")
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or resource_type not in types:
        raise InputError(where, "no known resourceType")
    meta = resource.get("meta", {})
    extensions = meta.get("extension", []) if isinstance(meta, dict) else None
    if not isinstance(extensions, list) or not all(isinstance(e, dict) for e in extensions):
        raise InputError(where, "meta is malformed")
    return resource


def identified(entries: list[Entry]) -> list[Resource]:
    """Return the resources of a transaction with their ids, references among them rewritten.

    A POST keeps its resource's own id; without one, or when another entry has it, the id is a UUID made from
    the entry's content and place, so that the same Bundle gives the same ids every time. Raises InputError
    when two entries have one fullUrl, or two PUT one id.
    """
    urls: dict[str, str] = {}
    used: set[Key] = set()
    resources: list[Resource] = []
    for entry in entries:
        key = _key(entry, used)
        if key in used or (entry.full_url and entry.full_url in urls):
            raise InputError(f"entry {entry.number}", "its id or fullUrl is that of another entry")
        used.add(key)
        if entry.full_url:
            urls[entry.full_url] = f"{key[0]}/{key[1]}"
        resources.append({**entry.resource, "id": key[1]})
    return [_rewritten(resource, urls) for resource in resources]


def _key(entry: Entry, used: Collection[Key]) -> Key:
    if entry.id is not None and (entry.is_put or (entry.resource_type, entry.id) not in used):
        return entry.resource_type, entry.id
    try:
        content = exact_json.dumps(entry.resource, sort_keys=True)
    except exact_json.NotJson as error:
        raise InputError(f"entry {entry.number}", "no JSON") from error
    name = f"{entry.number} {entry.full_url} {hashlib.sha256(content).hexdigest()}"
    return entry.resource_type, str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _rewritten(value: Any, urls: Mapping[str, str]) -> Any:
    """Return the value with every `reference` that is one of the urls replaced."""
    if isinstance(value, dict):
        return {
            name: urls.get(child, child)
            if name == "reference" and isinstance(child, str)
            else (_rewritten(child, urls) if isinstance(child, dict | list) else child)
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_rewritten(item, urls) if isinstance(item, dict | list) else item for item in value]
    return value


def ndjson_resources(lines: Iterator[bytes], types: Collection[str]) -> Iterator[Resource]:
    """Yield the resource of each line that is not blank. Raises InputError naming the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            value = exact_json.loads(line)
        except exact_json.NotJson as error:
            raise InputError(where, "no JSON") from error
        resource = checked_resource(value, where=where, types=types)
        resource_id = resource.get("id")
        if not isinstance(resource_id, str) or not ID.fullmatch(resource_id):
            raise InputError(where, "no legal id")
        yield resource
