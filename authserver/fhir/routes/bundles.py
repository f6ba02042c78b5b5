"""Answer a batch or a transaction. Every entry is a request through the same decisions as one by itself.

A batch's entries stand alone. A transaction's are all decided before the first is done, and all done or none
(http://hl7.org/fhir/R4/http.html#transaction).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flask import Request, Response

from authserver.errors import AuthServerError, BadRequest, NotSupported
from authserver.fhir import exact_json
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions import bodies
from authserver.fhir.interactions.bundle_entries import Entry, bundle_type, in_entry, raw_entries, read_entry
from authserver.fhir.interactions.task import WRITING
from authserver.fhir.interactions.transaction import Step, Transactions
from authserver.fhir.request import FhirRequest, export_operation
from authserver.fhir.routes.answers import entry as written_entry
from authserver.fhir.routes.answers import status_line
from authserver.fhir.routes.message import HttpMessage, inner_request
from authserver.fhir.store.port import FhirSession, FhirStore
from authserver.protocol import render


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that was allowed: who asks, what for, and how far that reaches."""

    caller: Caller
    request: FhirRequest
    constraint: Constraint


class Gateway(Protocol):
    """The one way in for every request, by itself or in a Bundle."""

    def admit(self, http: Request) -> Admitted:
        """Authenticate and decide. Raises what the request is refused with."""

    def serve(self, http: Request) -> Response:
        """Authenticate, decide, answer, and record it."""

    def read(self, admitted: Admitted, http: Request, *, session: FhirSession) -> Response:
        """Answer a read, search, vread or history from what the session sees, and record it there."""


class BundleRoutes:
    """Takes Bundles apart; `prefix` is the path of the base URL, `limit` how many entries one may have."""

    def __init__(
        self, gateway: Gateway, store: FhirStore, transactions: Transactions, *, base_url: str, prefix: str, limit: int
    ) -> None:
        self._gateway, self._store, self._transactions = gateway, store, transactions
        self._base_url, self._prefix, self._limit = base_url, prefix, limit

    def answer(self, http: Request, *, now: int, request_id: str) -> Response:
        """Answer `POST` to the base; `now` is in microseconds."""
        body = bodies.json_body(http.get_data(), http.mimetype)
        kind, listed = bundle_type(body), raw_entries(body, limit=self._limit)
        if kind == "batch":
            entries = [self._one_of_batch(http, raw, number) for number, raw in enumerate(listed)]
        else:
            entries = self._transaction(http, listed, now=now, request_id=request_id)
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": f"{kind}-response"}
        if entries:
            bundle["entry"] = entries
        return Response(exact_json.dumps(bundle), content_type=render.FHIR_JSON)

    def _one_of_batch(self, outer: Request, raw: Any, number: int) -> dict[str, Any]:
        try:
            http = self._inner(outer, read_entry(raw, number, base_url=self._base_url))
            return _answered(self._gateway.serve(http))
        except AuthServerError as error:
            outcome = exact_json.embedded(render.operation_outcome(error).body)
            return {"response": {"status": status_line(error.status), "outcome": outcome}}

    def _transaction(self, outer: Request, listed: Sequence[Any], *, now: int, request_id: str) -> list[dict[str, Any]]:
        entries: list[Entry] = []
        admitted: list[tuple[Admitted, Request]] = []
        for number, raw in enumerate(listed):
            with in_entry(number):
                entries.append(read_entry(raw, number, base_url=self._base_url))
                http = self._inner(outer, entries[number])
                admitted.append((self._gateway.admit(http), http))
        # Every letter is checked before any body is looked at, and every body before anything is done.
        steps = [self._step(entry, *admitted[entry.number]) for entry in entries]
        planned = self._transactions.planned(steps)

        def work(session: FhirSession) -> dict[int, dict[str, Any]]:
            outcomes = self._transactions.run(session, planned, now=now, request_id=request_id)
            with_body = "return=representation" in ",".join(outer.headers.getlist("Prefer"))
            answers = {n: written_entry(o, base_url=self._base_url, with_body=with_body) for n, o in outcomes.items()}
            for step in planned:
                if step.task is None:
                    with in_entry(step.entry.number):
                        allowed, http = admitted[step.entry.number]
                        answers[step.entry.number] = _answered(self._gateway.read(allowed, http, session=session))
            return answers

        answers = self._store.transact(work)
        return [answers[number] for number in range(len(listed))]

    def _step(self, entry: Entry, admitted: Admitted, http: Request) -> Step:
        with in_entry(entry.number):
            if admitted.request.operation or admitted.request.resource_type is None:
                raise NotSupported("A transaction has no operations in it.", reason="operation_in_bundle")
            message = HttpMessage(http) if admitted.request.interaction in WRITING else None
            return self._transactions.step(entry, admitted.caller, admitted.request, message)

    def _inner(self, outer: Request, entry: Entry) -> Request:
        segments = entry.target.split("/")
        if export_operation(segments):
            raise NotSupported("An export is a request by itself.", reason="operation_in_bundle")
        headers = {"Prefer": outer.headers.get("Prefer", "return=minimal"), **entry.headers}
        return inner_request(
            outer,
            entry.method,
            path=f"{self._prefix}/{entry.target}",
            query=_ascii(entry.query),
            headers=headers,
            body=_bytes(entry.resource),
            media_type=entry.media_type,
        )


def _answered(response: Response) -> dict[str, Any]:
    """Return an answer as an entry of a Bundle."""
    entry: dict[str, Any] = {"response": {"status": status_line(response.status_code)}}
    for name, header in (("location", "Location"), ("etag", "ETag")):
        if header in response.headers:
            entry["response"][name] = response.headers[header]
    if response.last_modified is not None:
        entry["response"]["lastModified"] = f"{response.last_modified:%Y-%m-%dT%H:%M:%S}Z"
    body = response.get_data()
    return {"resource": exact_json.embedded(body), **entry} if body else entry


def _bytes(resource: Any) -> bytes:
    if isinstance(resource, bytes):
        return resource
    try:
        return exact_json.dumps(resource) if resource is not None else b""
    except exact_json.NotJson as error:
        raise BadRequest("The resource of an entry is no JSON.", reason="json_malformed") from error


def _ascii(query: str) -> str:
    if not query.isascii():
        raise BadRequest("The url of an entry must be escaped.", reason="entry_malformed")
    return query
