"""Answer Patient/$everything: the patient, its compartment, and what that refers to one step further.

Source: http://hl7.org/fhir/R4/patient-operation-everything.html. A type is in it when the token may read and search it.
Without an id it is about every Patient that the token may read and search, each resource once, page by page.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response

from authserver.errors import BadRequest
from authserver.fhir import exact_json
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request import FhirRequest, Pair
from authserver.fhir.routes import operation_parameters
from authserver.fhir.routes.answers import current
from authserver.fhir.routes.gathering import PATIENT, Gathering, Listing
from authserver.fhir.search.ast import Criterion, DateCriterion, DateValue, LastUpdatedCriterion, Prefix
from authserver.fhir.search.cursor import CursorBinding, seal_number, unseal_number
from authserver.fhir.search.problems import MalformedParameter
from authserver.fhir.store.port import FhirReads, Stored
from authserver.protocol.fhir_interaction import ID
from authserver.protocol.instants import date_range
from authserver.protocol.render import FHIR_JSON

SUPPORTING = ("Location", "Medication", "Organization", "Practitioner", "PractitionerRole")
"""Types that no compartment has, and that are given along with what refers to them."""

_PARAMETERS = ("id", "start", "end", "_since", "_type", "_count", "_cursor", "_format")
_COUNT, _LARGEST = 200, 1_000
_POSITION_BITS = 48
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_BOUNDS: tuple[tuple[str, Prefix], ...] = (("start", "ge"), ("end", "le"))


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of one request, read; `patient` "" asks for all."""

    patient: str
    types: frozenset[str]
    criteria: tuple[Criterion, ...]
    dates: tuple[DateValue, ...]
    count: int
    pairs: tuple[Pair, ...]
    cursor: str | None


class EverythingRoutes:
    """Collects over one store; `base_url` is what every link begins with."""

    def __init__(self, reads: FhirReads, gathering: Gathering, definitions: Definitions, *, base_url: str) -> None:
        self._reads, self._gathering, self._definitions = reads, gathering, definitions
        self._base_url = base_url
        compartment = {**definitions.patient_compartment, PATIENT: ()}
        self._compartment = sorted(compartment.items(), key=lambda one: (one[0] != PATIENT, one[0]))

    def answer(self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request) -> Response:
        """Answer with one page; `constraint` is that of reading the Patient."""
        asked = self._asked(request, http)
        patient = self._patient(caller, asked, constraint)
        binding = CursorBinding(caller.client_id, caller.tenant, f"everything/{asked.patient}", asked.pairs)
        secret = self._reads.cursor_secret
        after = unseal_number(asked.cursor, binding, secret=secret) if asked.cursor is not None else None
        found, following = self._page(caller, asked, after, named=patient)
        first = [patient] if patient is not None and after is None and PATIENT in asked.types else []
        matches = [*first, *found]
        cursor = seal_number(following, binding, secret=secret) if following is not None else None
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": self._page_links(asked, cursor),
            "entry": [
                *(self._entry(one, "match") for one in matches),
                *(self._entry(one, "include") for one in self._supporting(caller, matches)),
            ],
        }
        return Response(
            exact_json.dumps({name: value for name, value in bundle.items() if value}), content_type=FHIR_JSON
        )

    def _patient(self, caller: Caller, asked: Asked, constraint: Constraint) -> Stored | None:
        """Return the Patient that is named, None for all. NotFound where it is hidden, InsufficientScope for all."""
        if not asked.patient:
            self._gathering.patients(caller)
            return None
        return current(self._reads, constraint, caller, resource_type=PATIENT, resource_id=asked.patient)

    def _page(
        self, caller: Caller, asked: Asked, after: int | None, *, named: Stored | None
    ) -> tuple[list[Stored], int | None]:
        """Return a page of the compartments of the named Patient or of all, and where the next one begins."""
        first, position = divmod(after, 1 << _POSITION_BITS) if after is not None else (0, 0)
        found: list[Stored] = []
        last = 0
        for number, (resource_type, codes) in enumerate(self._compartment):
            if number < first or resource_type not in asked.types or (resource_type == PATIENT and named):
                continue
            listing = Listing(
                resource_type,
                tuple(codes),
                named,
                (*asked.criteria, *self._dates(resource_type, asked.dates)),
                count=asked.count - len(found) + 1,
                after=position if number == first else 0,
            )
            for one in self._gathering.listed(caller, listing):
                if len(found) == asked.count:
                    return found, last
                found.append(one)
                last = (number << _POSITION_BITS) + one.position
        return found, None

    def _dates(self, resource_type: str, dates: Sequence[DateValue]) -> tuple[Criterion, ...]:
        """Return `start` and `end` as criteria, for types that have a date to search by."""
        parameter = self._definitions.parameter(resource_type, "date")
        if parameter is None or parameter.kind != "date":
            return ()
        return tuple(DateCriterion("date", (value,)) for value in dates)

    def _supporting(self, caller: Caller, matches: Sequence[Stored]) -> list[Stored]:
        """Return what the matches refer to of the types that are in no compartment, as far as the token may see."""
        wanted = {one for one in self._gathering.references(matches) if one[0] in SUPPORTING}
        return self._gathering.visible(caller, wanted)

    def _entry(self, one: Stored, mode: str) -> dict[str, Any]:
        full_url = f"{self._base_url}/{one.resource_type}/{one.id}"
        return {"fullUrl": full_url, "resource": exact_json.embedded(one.body), "search": {"mode": mode}}

    def _page_links(self, asked: Asked, following: str | None) -> list[dict[str, str]]:
        here = "/".join(part for part in (self._base_url, PATIENT, asked.patient, "$everything") if part)
        links = [{"relation": "self", "url": _link(here, asked.pairs)}]
        if following is not None:
            links.append({"relation": "next", "url": _link(here, (*asked.pairs, ("_cursor", following)))})
        return links

    def _asked(self, request: FhirRequest, http: Request) -> Asked:
        """Read the parameters of query and body. Raises UnsupportedParameter, MalformedParameter and BadRequest."""
        pairs = operation_parameters.pairs(request, http, known=_PARAMETERS)
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        if any(len(given) > 1 for name, given in values.items() if name != "_type"):
            raise BadRequest("A parameter of $everything comes twice.", reason="operation_parameter")
        given = {name: found[0] for name, found in values.items()}
        patient = request.resource_id or given.get("id", "")
        if "id" in given and (request.resource_id or not ID.fullmatch(patient)):
            raise BadRequest("$everything takes the id of one Patient, or none.", reason="operation_parameter")
        since = (DateValue("ge", *_moment("_since", given["_since"])),) if "_since" in given else ()
        return Asked(
            patient,
            self._types(values.get("_type", [])),
            (LastUpdatedCriterion(since),) if since else (),
            tuple(DateValue(prefix, *_moment(name, given[name])) for name, prefix in _BOUNDS if name in given),
            _count(given.get("_count", str(_COUNT))),
            tuple((name, value) for name, value in pairs if name not in ("_cursor", "id")),
            given.get("_cursor"),
        )

    def _types(self, values: Sequence[str]) -> frozenset[str]:
        named = frozenset(part for value in values for part in value.split(","))
        if not named <= self._definitions.resource_types:
            raise MalformedParameter("_type")
        return named or self._definitions.resource_types


def _moment(name: str, text: str) -> tuple[int, int]:
    span = date_range(text)
    if span is None:
        raise MalformedParameter(name)
    return span


def _count(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise MalformedParameter("_count")
    return min(int(text), _LARGEST)


def _link(here: str, pairs: Sequence[Pair]) -> str:
    return f"{here}?{urlencode(pairs, quote_via=quote, safe=':|,/$')}" if pairs else here
