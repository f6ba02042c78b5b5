"""Write the answer of a search: a searchset Bundle, spliced from stored JSON without reading it again.

The entry's shape is that of row A19: resource, search.mode, fullUrl and a self link.
"""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

import orjson

from authserver.fhir.store.port import Stored

Pair = tuple[str, str]


def searchset(
    matches: Sequence[Stored], *, base_url: str, resource_type: str, pairs: Sequence[Pair], next_cursor: str | None
) -> bytes:
    """Return the Bundle; `pairs` are the parameters that were used, `next_cursor` leads to the next page."""
    here = f"{base_url}/{resource_type}"
    links = [{"relation": "self", "url": _url(here, pairs)}]
    if next_cursor is not None:
        links.append({"relation": "next", "url": _url(here, [*pairs, ("_cursor", next_cursor)])})
    head = b'{"resourceType":"Bundle","type":"searchset","link":' + orjson.dumps(links)
    if not matches:
        # FHIR knows no empty arrays.
        return head + b"}"
    entries = b",".join(_entry(match, base_url) for match in matches)
    return head + b',"entry":[' + entries + b"]}"


def _entry(match: Stored, base_url: str) -> bytes:
    # Type and id have letters, digits, "-" and "." only; the base URL is ours and is quoted by orjson.
    url = orjson.dumps(f"{base_url}/{match.resource_type}/{match.id}")
    return b"".join(
        (
            b'{"fullUrl":', url,
            b',"resource":', match.body,
            b',"search":{"mode":"match"},"link":[{"relation":"self","url":', url, b"}]}",
        )
    )  # fmt: skip


def _url(here: str, pairs: Sequence[Pair]) -> str:
    return f"{here}?{urlencode(pairs, quote_via=quote, safe=':|,/$')}" if pairs else here
