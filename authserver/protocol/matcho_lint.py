"""Traps of the pattern language: what compiles, and opens more or less than it seems to. PURE."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from authserver.protocol.matcho_reader import METHOD, PREDICATES, Place
from authserver.protocol.policy_request import CREDENTIALS

Trap = tuple[str, str]
"""Where, and what."""

_CHOSEN_BY_THE_CALLER = ("body", "headers", "params", "query-string", "uri", "request-method")
_WHOLE_ENDS = ("$", "$)", "/", r"\z", r"\z)")


def traps(pattern: Any, path: str, *, place: Place = (), present: bool = False) -> Iterator[Trap]:
    """Yield the traps of a pattern that compiles.

    `place`: the members that lead here from the top of the request, None behind a list. `present`: something is here
    for sure, such as an element of a list.
    """
    if isinstance(pattern, Mapping):
        yield from _map_traps(pattern, path, place=place, present=present)
    elif isinstance(pattern, list):
        for index, inner in enumerate(pattern):
            yield from traps(inner, f"{path}[{index}]", place=None)
    elif isinstance(pattern, str):
        yield from ((path, what) for what in _text_traps(pattern, place))


def _map_traps(pattern: Mapping[str, Any], path: str, *, place: Place, present: bool) -> Iterator[Trap]:
    for name, inner in pattern.items():
        at = f"{path}.{name}"
        if name.startswith("$"):
            yield from _operator_traps(name, inner, at, place=place, present=present)
            continue
        inside = None if place is None else (*place, name)
        yield from ((at, what) for what in _member_traps(inside))
        yield from traps(inner, at, place=inside)


def _member_traps(place: Place) -> Iterator[str]:
    if place == ("query-string",):
        yield "the caller chooses the order of parameters and adds others; use params"
    if place is None or place[0] != "headers" or len(place) != 2:
        return
    if place[1] in CREDENTIALS:
        yield "no policy sees this header: who is calling is in client and jwt"
    elif place[1] != place[1].lower():
        yield "headers have names in small letters, so this one is never there"


def _operator_traps(name: str, inner: Any, path: str, *, place: Place, present: bool) -> Iterator[Trap]:
    if name == "$not":
        if not present and not _rules_out_nothing(inner):
            yield path, 'true also where nothing is; write {"$not": {"$one-of": ["nil?", …]}} to want something there'
        yield from traps(inner, path, place=place, present=present)
    elif name in ("$one-of", "$present-all") and isinstance(inner, list):
        elements = name == "$present-all"
        for index, one in enumerate(inner):
            inside = None if elements else place
            yield from traps(one, f"{path}[{index}]", place=inside, present=present or elements)
    elif name in ("$contains", "$every", "$reference"):
        yield from traps(inner, path, place=None, present=True)
    elif name in ("$enum", "$eq"):
        yield from _value_traps(inner if isinstance(inner, list) else [inner], path, name=name, place=place)


def _rules_out_nothing(inner: Any) -> bool:
    """Say whether the pattern behind `$not` fits what is not there, so that `$not` wants something."""
    if isinstance(inner, Mapping) and isinstance(inner.get("$one-of"), list):
        return any(map(_rules_out_nothing, inner["$one-of"]))
    if isinstance(inner, Mapping) and isinstance(inner.get("$enum"), list):
        return None in inner["$enum"]
    return inner in (None, "nil?")


def _value_traps(values: list[Any], path: str, *, name: str, place: Place) -> Iterator[Trap]:
    for value in values:
        if place == METHOD and _is_head(value):
            yield path, "HEAD is judged as get, so this never fits"
        is_pattern = isinstance(value, str) and (value.startswith(("#", ".")) or value in PREDICATES)
        if name == "$enum" and is_pattern:
            yield path, f"{value} is compared as text here; for a pattern write $one-of"


def _text_traps(text: str, place: Place) -> Iterator[str]:
    if text.startswith("#"):
        yield from _regex_traps(text[1:], place)
    elif text.startswith("."):
        other = text[1:].partition(".")[0]
        if place and place[0] in _CHOSEN_BY_THE_CALLER and other in _CHOSEN_BY_THE_CALLER:
            yield "the caller chooses both sides"
    elif re.fullmatch(r"[a-z-]+\?", text) and text not in PREDICATES:
        yield f"compared as text: the predicates are {', '.join(PREDICATES)}"
    elif place == METHOD and _is_head(text):
        yield "HEAD is judged as get, so this never fits"


def _regex_traps(source: str, place: Place) -> Iterator[str]:
    bare = re.sub(r"^\(\?[a-z]+\)", "", source)
    if _has_loose_alternative(bare):
        yield "each alternative has anchors of its own; write ^(a|b)$"
    elif not bare.startswith(("^", r"\A")):
        yield "found anywhere in the text; begin with ^"
    elif not bare.endswith(_WHOLE_ENDS):
        yield "fits longer texts as well; end with $ or /"
    if place == ("remote-addr",) and re.search(r"(?<!\\)\.(?![*+?{])", bare):
        yield r"a dot fits any character; write \."


def _has_loose_alternative(source: str) -> bool:
    """Say whether there is a `|` outside every group and class."""
    flat = re.sub(r"\[\^?\]?[^\]]*\]", "", re.sub(r"\\.", "", source))
    while (inner := re.sub(r"\([^()]*\)", "", flat)) != flat:
        flat = inner
    return "|" in flat


def _is_head(value: Any) -> bool:
    return isinstance(value, str) and value.lower() == "head"
