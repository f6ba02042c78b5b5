"""Answer Patient/$everything: the patient, its compartment, and what that refers to one step further.

Source: http://hl7.org/fhir/R4/patient-operation-everything.html. A type is in it when the token may read and search it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response

from authserver.errors import BadRequest, NotFound
from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.interactions import bodies
from authserver.fhir.interactions.links import Links
from authserver.fhir.request import FhirRequest, Pair
from authserver.fhir.routes.answers import gone
from authserver.fhir.search.ast import (
    ChainCriterion,
    Criterion,
    DateCriterion,
    DateValue,
    LastUpdatedCriterion,
    PositionCriterion,
    Prefix,
    ReferenceCriterion,
    ReferenceValue,
    SearchQuery,
)
from authserver.fhir.search.cursor import CursorBinding, seal_number, unseal_number
from authserver.fhir.search.problems import MalformedParameter, UnsupportedParameter
from authserver.fhir.store.port import FhirReads, Stored
from authserver.protocol.fhir_interaction import ID
from authserver.protocol.instants import date_range
from authserver.protocol.render import FHIR_JSON

SUPPORTING = ("Location", "Medication", "Organization", "Practitioner", "PractitionerRole")
"""Types that no compartment has, and that are given along with what refers to them."""

_COUNT, _LARGEST = 200, 1_000
_POSITION_BITS = 48
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_BOUNDS: tuple[tuple[str, Prefix], ...] = (("start", "ge"), ("end", "le"))


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of one request, read."""

    patient: str
    types: frozenset[str]
    criteria: tuple[Criterion, ...]
    dates: tuple[DateValue, ...]
    count: int
    pairs: tuple[Pair, ...]
    cursor: str | None


class EverythingRoutes:
    """Collects over one store; `base_url` is what every link begins with."""

    def __init__(
        self, reads: FhirReads, rules: AccessRules, definitions: Definitions, links: Links, *, base_url: str
    ) -> None:
        self._reads, self._rules, self._definitions, self._links = reads, rules, definitions, links
        self._base_url = base_url
        self._compartment = sorted(definitions.patient_compartment.items())

    def answer(self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request) -> Response:
        """Answer with one page; `constraint` is that of reading the Patient."""
        asked = self._asked(request, http)
        patient = self._reads.read(constraint, "Patient", asked.patient)
        if patient is None:
            version = self._reads.version(constraint, "Patient", asked.patient, None)
            raise gone(version, caller) if asked.patient else NotFound()
        binding = CursorBinding(caller.client_id, caller.tenant, f"everything/{asked.patient}", asked.pairs)
        secret = self._reads.cursor_secret
        after = unseal_number(asked.cursor, binding, secret=secret) if asked.cursor is not None else None
        found, following = self._page(caller, asked, after, patient=patient)
        matches = found if after is not None or "Patient" not in asked.types else [patient, *found]
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

    def _page(
        self, caller: Caller, asked: Asked, after: int | None, *, patient: Stored
    ) -> tuple[list[Stored], int | None]:
        """Return a page of the compartment, and where the next one begins."""
        first, position = divmod(after, 1 << _POSITION_BITS) if after is not None else (0, 0)
        found: list[Stored] = []
        last = 0
        for number, (resource_type, codes) in enumerate(self._compartment):
            if number < first or resource_type not in asked.types or resource_type == "Patient":
                continue
            start = position if number == first else 0
            wanted = asked.count - len(found) + 1
            for one in self._of_type(caller, asked, resource_type, codes, start, wanted, patient=patient):
                if len(found) == asked.count:
                    return found, last
                found.append(one)
                last = (number << _POSITION_BITS) + one.position
        return found, None

    def _of_type(
        self,
        caller: Caller,
        asked: Asked,
        resource_type: str,
        codes: Sequence[str],
        after: int,
        count: int,
        *,
        patient: Stored,
    ) -> Iterator[Stored]:
        """Yield at most `count` resources of the type behind the position, in order, each once."""
        rights = self._rules.rights(caller, resource_type)
        if not {"r", "s"} <= rights.keys():
            return
        patients = self._rules.visible(caller, "Patient").alternatives
        constraint = replace(rights["r"].narrowed(rights["s"]), looked_through=(("Patient", patients),))
        found: dict[int, Stored] = {}
        for code in codes:
            of_patient = _refers_to(patient, code, several_tenants=constraint.view is not None)
            criteria = (of_patient, *asked.criteria, *self._dates(resource_type, asked.dates))
            page = self._reads.search(constraint, SearchQuery(resource_type, criteria, count, (after,)))
            found.update((one.position, one) for one in page.matches)
        yield from (found[position] for position in sorted(found)[:count])

    def _dates(self, resource_type: str, dates: Sequence[DateValue]) -> tuple[Criterion, ...]:
        """Return `start` and `end` as criteria, for types that have a date to search by."""
        parameter = self._definitions.parameter(resource_type, "date")
        if parameter is None or parameter.kind != "date":
            return ()
        return tuple(DateCriterion("date", (value,)) for value in dates)

    def _supporting(self, caller: Caller, matches: Sequence[Stored]) -> list[Stored]:
        """Return what the matches refer to of the types that are in no compartment, as far as the token may see."""
        wanted = {
            (*key, one.tenant)
            for one in matches
            for key in self._links.local(exact_json.loads(one.body))
            if key[0] in SUPPORTING
        }
        seen = (
            self._reads.read(self._rules.visible(caller, name).referred_to(tenant), name, resource_id)
            for name, resource_id, tenant in sorted(wanted)
        )
        return list({one.position: one for one in seen if one is not None}.values())

    def _entry(self, one: Stored, mode: str) -> dict[str, Any]:
        full_url = f"{self._base_url}/{one.resource_type}/{one.id}"
        return {"fullUrl": full_url, "resource": exact_json.embedded(one.body), "search": {"mode": mode}}

    def _page_links(self, asked: Asked, following: str | None) -> list[dict[str, str]]:
        here = f"{self._base_url}/Patient/{asked.patient}/$everything"
        links = [{"relation": "self", "url": _link(here, asked.pairs)}]
        if following is not None:
            links.append({"relation": "next", "url": _link(here, (*asked.pairs, ("_cursor", following)))})
        return links

    def _asked(self, request: FhirRequest, http: Request) -> Asked:
        """Read the parameters of query and body. Raises UnsupportedParameter, MalformedParameter and BadRequest."""
        pairs = [*request.parameters, *_body_pairs(http)]
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in ("id", "start", "end", "_since", "_type", "_count", "_cursor", "_format"):
                raise UnsupportedParameter(name)
            values.setdefault(name, []).append(value)
        if any(len(given) > 1 for name, given in values.items() if name != "_type"):
            raise BadRequest("A parameter of $everything comes twice.", reason="operation_parameter")
        given = {name: found[0] for name, found in values.items()}
        patient = request.resource_id or given.get("id", "")
        if not ID.fullmatch(patient) or (request.resource_id and "id" in given):
            raise BadRequest("$everything needs the id of one Patient.", reason="operation_parameter")
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


def _refers_to(patient: Stored, code: str, *, several_tenants: bool) -> Criterion:
    """Return the criterion that the parameter refers to the patient, and in a hierarchy to no namesake elsewhere."""
    if several_tenants:
        return ChainCriterion(code, (("Patient", PositionCriterion(patient.position)),))
    return ReferenceCriterion(code, (ReferenceValue(patient.id, "Patient"),))


def _body_pairs(http: Request) -> list[Pair]:
    """Return the parameters of a POST: a Parameters resource, or the members of a plain object (row B9)."""
    if http.method != "POST" or not http.get_data():
        return []
    body = bodies.json_body(http.get_data(), http.mimetype)
    if isinstance(body, dict) and body.get("resourceType") == "Parameters" and isinstance(body.get("parameter"), list):
        listed = [_named(one) for one in body["parameter"]]
    else:
        listed = list(body.items()) if isinstance(body, dict) else [("", None)]
    if not all(isinstance(name, str) and isinstance(value, str | int) for name, value in listed):
        raise BadRequest("The body's parameters are malformed.", reason="operation_parameter")
    return [(name, str(value)) for name, value in listed]


def _named(one: Any) -> tuple[Any, Any]:
    values = [value for name, value in one.items() if name.startswith("value")] if isinstance(one, dict) else []
    return (one.get("name"), values[0]) if len(values) == 1 else ("", None)


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
