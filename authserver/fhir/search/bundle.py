"""Write the answer of a search: a searchset Bundle, spliced from stored JSON without reading it again.

The entry's shape is that of row A19: resource, search.mode, fullUrl and a self link.
"""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

import orjson

from authserver.fhir.store.port import Stored

Pair = tuple[str, str]


def searchset(
    matches: Sequence[Stored],
    *,
    base_url: str,
    resource_type: str,
    pairs: Sequence[Pair],
    next_cursor: str | None,
    included: Sequence[Stored] = (),
    warnings: Sequence[str] = (),
    total: int | None = None,
) -> bytes:
    """Return the Bundle; `pairs` are the parameters that were used, `next_cursor` leads to the next page.

    `resource_type` is "" for a search of the whole system, `warnings` are sentences for an entry of mode `outcome`.
    """
    here = f"{base_url}/{resource_type}" if resource_type else base_url
    links = [{"relation": "self", "url": _url(here, pairs)}]
    if next_cursor is not None:
        links.append({"relation": "next", "url": _url(here, [*pairs, ("_cursor", next_cursor)])})
    head = b'{"resourceType":"Bundle","type":"searchset",'
    if total is not None:
        head += b'"total":%d,' % total
    entries = [_entry(match, base_url, b"match") for match in matches]
    entries.extend(_entry(one, base_url, b"include") for one in included)
    if warnings:
        entries.append(_outcome(warnings))
    # FHIR knows no empty arrays.
    tail = b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}"
    return head + b'"link":' + orjson.dumps(links) + tail


def _entry(match: Stored, base_url: str, mode: bytes) -> bytes:
    # Type and id have letters, digits, "-" and "." only; the base URL is ours and is quoted by orjson.
    url = orjson.dumps(f"{base_url}/{match.resource_type}/{match.id}")
    return b"".join(
        (
            b'{"fullUrl":', url,
            b',"resource":', match.body,
            b',"search":{"mode":"', mode, b'"},"link":[{"relation":"self","url":', url, b"}]}",
        )
    )  # fmt: skip


def _outcome(warnings: Sequence[str]) -> bytes:
    """Return the entry that tells what is missing (http://hl7.org/fhir/R4/valueset-search-entry-mode.html)."""
    issues = [{"severity": "warning", "code": "incomplete", "diagnostics": warning} for warning in warnings]
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    return orjson.dumps({"resource": outcome, "search": {"mode": "outcome"}})


def _url(here: str, pairs: Sequence[Pair]) -> str:
    return f"{here}?{urlencode(pairs, quote_via=quote, safe=':|,/$')}" if pairs else here
