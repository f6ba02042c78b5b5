"""JSON Patch (RFC 6902): its reading, and its application to resources of the registry, with bounds. PURE.

What is ours, or never in a body, cannot be patched: the id, the type, the meta and the secret.
"""

from collections.abc import Mapping
from typing import Any

from authserver.errors import BadRequest, InvalidResource, Issue
from authserver.protocol import strict_json
from authserver.protocol.render import encode

MAX_OPERATIONS = 100
MAX_BYTES = 65_536
"""Size of a patched resource: `copy` doubles what is there, so few operations could make much."""

RESERVED = frozenset({"id", "resourceType", "meta", "secret"})
_MEMBERS = {
    "add": {"path", "value"},
    "remove": {"path"},
    "replace": {"path", "value"},
    "move": {"path", "from"},
    "copy": {"path", "from"},
    "test": {"path", "value"},
}

Operations = tuple[Mapping[str, Any], ...]


def apply(body: Mapping[str, Any], patch: object) -> dict[str, Any]:
    """Return the patched body; the one given stays as it is.

    Raises BadRequest for what is no patch, InvalidResource for one that does not fit: a failed `test`, a place that
    is not there, a reserved member, too large a result. An issue names the operation by its place in the patch.
    """
    patched: Any = dict(body)
    for index, operation in enumerate(operations(patch)):
        patched = _applied(patched, operation, index)
    return dict(patched)


def operations(patch: object) -> Operations:
    """Return the operations of a patch as it was sent; raises BadRequest for what is no JSON Patch (row B14)."""
    if not isinstance(patch, list) or len(patch) > MAX_OPERATIONS:
        raise BadRequest(f"A patch is a list of at most {MAX_OPERATIONS} operations.", reason="patch_malformed")
    for index, operation in enumerate(patch):
        if not isinstance(operation, dict) or not _is_operation(operation):
            raise BadRequest(f"patch[{index}] is no operation of RFC 6902.", reason="patch_malformed")
    return tuple(patch)


def _is_operation(operation: Mapping[str, Any]) -> bool:
    wanted = _MEMBERS.get(operation["op"]) if isinstance(operation.get("op"), str) else None
    pointers = (operation.get("path"), operation.get("from", ""))
    return wanted is not None and wanted <= operation.keys() and all(_is_pointer(pointer) for pointer in pointers)


def _is_pointer(text: object) -> bool:
    return isinstance(text, str) and (text == "" or text.startswith("/"))


def _applied(body: Any, operation: Mapping[str, Any], index: int) -> dict[str, Any]:
    for name in ("path", "from"):
        if name in operation:
            _require_open(operation[name], index)
    import jsonpatch  # of use to a PATCH alone

    try:
        patched = jsonpatch.JsonPatch([operation]).apply(body)
    except jsonpatch.JsonPatchTestFailed:
        raise _misfit(index, "the test failed") from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, ValueError, KeyError):
        # The library's own words may quote the resource.
        raise _misfit(index, "the operation does not fit the resource") from None
    return _bounded(patched, index)


def _require_open(pointer: str, index: int) -> None:
    if not pointer.startswith("/"):
        # The empty pointer is the whole resource, what is reserved in it included.
        raise _misfit(index, "a path names a member of the resource, for example /active")
    first = pointer.split("/")[1].replace("~1", "/").replace("~0", "~")
    if first in RESERVED:
        raise _misfit(index, f"{first} cannot be patched; a secret is changed by PUT")


def _bounded(patched: Any, index: int) -> dict[str, Any]:
    try:
        written = encode(patched)
        strict_json.loads(written)
    except (strict_json.MalformedJson, RecursionError, ValueError):
        raise _misfit(index, "the result is no acceptable JSON") from None
    if len(written) > MAX_BYTES:
        raise _misfit(index, f"the result is larger than {MAX_BYTES} bytes")
    return dict(patched)


def _misfit(index: int, what: str) -> InvalidResource:
    return InvalidResource((Issue(f"patch[{index}]", what, "processing"),))
