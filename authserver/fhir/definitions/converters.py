"""Turn one FHIR value into index rows, by the type of the value and the kind of the search parameter.

Malformed values give no rows and never an error: validation is another module's job.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from authserver.protocol.instants import EARLIEST, LATEST, date_range

Row = tuple[Any, ...]
Convert = Callable[[Any], Iterator[Row]]

# Index keys are bounded (a PostgreSQL index row holds 2,700 bytes). A longer value keeps its start and
# ends in a character that no search value can have, so it never equals a shorter one.
TEXT_LIMIT: Final = 200
CLIPPED: Final = "\uffff"
LOCAL_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")

_HUMAN_NAME = ("text", "family", "given", "prefix", "suffix")
_ADDRESS = ("text", "line", "city", "district", "state", "postalCode", "country")


def clip(text: str) -> str:
    """Return the text, cut to the size of an index key and without NUL, which PostgreSQL cannot hold."""
    text = text.replace("\0", "")
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + CLIPPED


def folded(text: str) -> str:
    """Return the text without case and accents, as string search compares it."""
    text = text.replace("\0", "")
    if text.isascii():
        return text.lower()[:TEXT_LIMIT]
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()[:TEXT_LIMIT]


def token_code(value: Any) -> Iterator[Row]:
    """Yield (code, system) of a plain code, string, uri or boolean."""
    if isinstance(value, bool):
        yield ("true" if value else "false", "")
    elif isinstance(value, str) and value:
        yield (clip(value), "")


def token_coding(value: Any) -> Iterator[Row]:
    """Yield (code, system) of a Coding."""
    if isinstance(value, dict):
        yield from _token(value.get("code"), value.get("system"))


def token_concept(value: Any) -> Iterator[Row]:
    """Yield (code, system) of each coding of a CodeableConcept."""
    codings = value.get("coding") if isinstance(value, dict) else None
    for coding in codings if isinstance(codings, list) else []:
        yield from token_coding(coding)


def token_identifier(value: Any) -> Iterator[Row]:
    """Yield (value, system) of an Identifier."""
    if isinstance(value, dict):
        yield from _token(value.get("value"), value.get("system"))


def token_contact(value: Any) -> Iterator[Row]:
    """Yield (value, "") of a ContactPoint."""
    if isinstance(value, dict):
        yield from _token(value.get("value"), None)


def _token(code: Any, system: Any) -> Iterator[Row]:
    if isinstance(code, str) or isinstance(system, str):
        yield (
            clip(code) if isinstance(code, str) else "",
            clip(system) if isinstance(system, str) else "",
        )


def reference_identifier(value: Any) -> Iterator[Row]:
    """Yield (value, system) of the Identifier by which a Reference names its target (`:identifier`)."""
    if isinstance(value, dict):
        yield from token_identifier(value.get("identifier"))


def reference(value: Any) -> Iterator[Row]:
    """Yield (id, type) of a Reference to a resource here, (url, "") of any other."""
    text = value.get("reference") if isinstance(value, dict) else None
    if not isinstance(text, str) or not text or text.startswith("#"):
        return
    local = LOCAL_REFERENCE.fullmatch(text)
    yield (local[2], local[1]) if local else (clip(text), "")


def reference_to(resource_type: str) -> Convert:
    """Return the converter of `where(resolve() is T)`."""

    def convert(value: Any) -> Iterator[Row]:
        return (row for row in reference(value) if row[1] == resource_type)

    return convert


def reference_canonical(value: Any) -> Iterator[Row]:
    """Yield (url, "") of a canonical, without its version."""
    if isinstance(value, str) and value:
        yield from reference({"reference": value.partition("|")[0]})


def reference_resource(value: Any) -> Iterator[Row]:
    """Yield (id, type) of a resource that stands where a reference could (Bundle.entry[0].resource)."""
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        yield (clip(value["id"]), str(value.get("resourceType", "")))


def string(value: Any) -> Iterator[Row]:
    """Yield (folded text, exact text)."""
    if isinstance(value, str) and value:
        yield (folded(value), clip(value))


def string_parts(*names: str) -> Convert:
    """Return the converter of a type whose every part is searched (HumanName, Address)."""

    def convert(value: Any) -> Iterator[Row]:
        if isinstance(value, dict):
            for name in names:
                part = value.get(name)
                for text in part if isinstance(part, list) else (part,):
                    yield from string(text)

    return convert


def date(value: Any) -> Iterator[Row]:
    """Yield (start, end) of a date, dateTime or instant; microseconds, end excluded."""
    span = date_range(value) if isinstance(value, str) else None
    if span:
        yield span


def period(value: Any) -> Iterator[Row]:
    """Yield (start, end) of a Period; a missing side is open."""
    if not isinstance(value, dict):
        return
    start, end = value.get("start"), value.get("end")
    first = date_range(start) if isinstance(start, str) else None
    last = date_range(end) if isinstance(end, str) else None
    if first or last:
        yield (first[0] if first else EARLIEST, last[1] if last else LATEST)


def timing(value: Any) -> Iterator[Row]:
    """Yield (start, end) of each event of a Timing, and of its bounds."""
    if not isinstance(value, dict):
        return
    events = value.get("event")
    for event in events if isinstance(events, list) else []:
        yield from date(event)
    repeat = value.get("repeat")
    if isinstance(repeat, dict):
        yield from period(repeat.get("boundsPeriod"))


def quantity(value: Any) -> Iterator[Row]:
    """Yield (low, high, code, system, unit) of a Quantity or Money."""
    if not isinstance(value, dict):
        return
    number = _float(value.get("value"))
    if number is not None:
        code = value.get("code") or value.get("currency")
        texts = (clip(t) if isinstance(t, str) else "" for t in (code, value.get("system"), value.get("unit")))
        yield (number, number, *texts)


def quantity_range(value: Any) -> Iterator[Row]:
    """Yield (low, high, code, system, unit) of a Range; a missing side is open."""
    if not isinstance(value, dict):
        return
    low, high = (next(quantity(value.get(side)), None) for side in ("low", "high"))
    if low or high:
        texts = (low or high or ())[2:]
        yield (low[0] if low else float("-inf"), high[1] if high else float("inf"), *texts)


def number(value: Any) -> Iterator[Row]:
    """Yield (low, high, "", "", "") of a number."""
    converted = _float(value)
    if converted is not None:
        yield (converted, converted, "", "", "")


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    converted = float(value)
    return converted if abs(converted) != float("inf") else None


def converter(kind: str, type_name: str) -> Convert:
    """Return the converter for a search parameter of this kind at an element of this type."""
    if type_name.startswith("Reference("):
        return reference_to(type_name[len("Reference(") : -1])
    return _CONVERTERS[kind].get(type_name) or _DEFAULTS[kind]


_DEFAULTS: Final[dict[str, Convert]] = {
    "token": token_code,
    "reference": reference_canonical,
    "string": string,
    "date": date,
    "uri": token_code,
    "quantity": quantity,
    "number": number,
}
_CONVERTERS: Final[dict[str, dict[str, Convert]]] = {
    "token": {
        "Coding": token_coding,
        "CodeableConcept": token_concept,
        "Identifier": token_identifier,
        "ContactPoint": token_contact,
    },
    "reference": {"Reference": reference, "Resource": reference_resource},
    "string": {"HumanName": string_parts(*_HUMAN_NAME), "Address": string_parts(*_ADDRESS)},
    "date": {"Period": period, "Timing": timing},
    "uri": {},
    "quantity": {"Range": quantity_range},
    "number": {},
}
