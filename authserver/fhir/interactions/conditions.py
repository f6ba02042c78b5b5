"""The headers that make a write conditional, or choose its answer: If-Match, If-None-*, Prefer. PURE."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from authserver.errors import BadRequest, ResourceError, VersionConflict
from authserver.fhir.request import Pair, parse_parameters

Preference = Literal["minimal", "representation", "OperationOutcome"]
_PREFERENCES: Mapping[str, Preference] = {
    "return=minimal": "minimal",
    "return=representation": "representation",
    "return=operationoutcome": "OperationOutcome",
}
# A version id, and behind a dot the tenant when that is not the caller's own (see Stored.version_tag).
_ETAG = re.compile(r'(?:W/)?"([A-Za-z0-9\-.~]{1,90})"', re.ASCII)
MEANS_FREE = "*"


class PreconditionFailed(ResourceError):
    """There is what must not be there, or several where there may be one."""

    status, issue_code = 412, "conflict"


@dataclass(frozen=True, slots=True)
class Conditions:
    """`if_match` is the version that must be current (see Stored.version_tag), or `*` for any.

    `only_if_free` is `If-None-Match: *`.
    `if_none_exist` is the search that must find nothing, None when it was not sent.
    """

    if_match: str | None = None
    only_if_free: bool = False
    if_none_exist: tuple[Pair, ...] | None = None
    prefer: Preference = "representation"

    def check(self, current: str | None) -> None:
        """Raise unless the conditions hold for the current version as tags name it, None when there is no resource."""
        if self.only_if_free and current is not None:
            raise PreconditionFailed("The resource exists already.", reason="exists_already")
        if self.if_match is None:
            return
        if current is None or self.if_match not in (MEANS_FREE, current):
            raise VersionConflict


def parse_conditions(
    *, if_match: str | None, if_none_match: str | None, if_none_exist: str | None, prefer: Iterable[str]
) -> Conditions:
    """Read the headers' values. Raises BadRequest for what has none of the forms that R4 defines."""
    return Conditions(
        if_match=_version(if_match) if if_match is not None else None,
        only_if_free=_means_free(if_none_match),
        if_none_exist=_search(if_none_exist) if if_none_exist is not None else None,
        prefer=_preference(prefer),
    )


def _version(text: str) -> str:
    if text.strip() == MEANS_FREE:
        return MEANS_FREE
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise BadRequest('If-Match must be W/"version".', reason="condition_malformed")
    return found[1]


def _means_free(text: str | None) -> bool:
    if text is not None and text.strip() != MEANS_FREE:
        raise BadRequest("If-None-Match of a write must be *.", reason="condition_malformed")
    return text is not None


def _search(text: str) -> tuple[Pair, ...]:
    """Return the pairs of If-None-Exist, which is the query alone (http://hl7.org/fhir/R4/http.html#ccreate)."""
    try:
        query = text.strip().removeprefix("?").encode("ascii")
    except UnicodeEncodeError as error:
        raise BadRequest("If-None-Exist must be a query.", reason="condition_malformed") from error
    return parse_parameters(query)


def _preference(values: Iterable[str]) -> Preference:
    listed = ",".join(values).lower().replace(";", ",").split(",")
    named = [_PREFERENCES[one.strip()] for one in listed if one.strip() in _PREFERENCES]
    return named[0] if named else "representation"
