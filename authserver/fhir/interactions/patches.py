"""Apply a JSON Patch (RFC 6902) to a resource, with the library `jsonpatch`. PURE.

Numbers keep their digits, and a patch can neither change what the resource is nor make it grow without end.
"""

from typing import Any

import jsonpatch
from jsonpointer import JsonPointerException

from authserver.errors import BadRequest, ContentTooLarge, InvalidResource, Issue
from authserver.fhir import exact_json
from authserver.protocol.json_patch import Operations

_FAILURES = (
    jsonpatch.JsonPatchException, JsonPointerException, TypeError, LookupError, ValueError, RecursionError
)  # fmt: skip


class PatchFailed(InvalidResource):
    """A well-formed patch does not fit the resource: a path that is not there, or a test that fails."""

    default_reason = "patch_failed"

    def __init__(self, *, position: int) -> None:
        super().__init__((Issue(f"[{position}]", "The operation cannot be applied to the resource.", "processing"),))


def tests_values(asked: Operations) -> bool:
    """Say whether the patch can tell what a value is: only a caller who may read it may ask."""
    return any(operation["op"] == "test" for operation in asked)


def patched(body: bytes, asked: Operations, *, max_bytes: int) -> dict[str, Any]:
    """Return the resource after the operations; `body` is its JSON. Raises PatchFailed and ContentTooLarge."""
    resource = exact_json.loads(body)
    for position, operation in enumerate(asked):
        try:
            resource = jsonpatch.JsonPatch([operation]).apply(resource, in_place=True)
            size = len(exact_json.dumps(resource)) if operation["op"] == "copy" else 0
        except _FAILURES as error:
            raise PatchFailed(position=position) from error
        # A few copies of a part into itself would otherwise fill any memory.
        if size > max_bytes:
            raise ContentTooLarge
    before = exact_json.loads(body)
    if not isinstance(resource, dict) or any(resource.get(n) != before.get(n) for n in ("resourceType", "id")):
        raise BadRequest("A patch cannot change resourceType or id.", reason="patch_malformed")
    return resource
