"""Break values in the ways that attackers and accidents do: bytes, JSON, base64, forms. Reproducible from a seed."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from authserver.protocol import jose

ODD_TEXT = (
    "",
    " ",
    "\x00",
    "\n",
    "\r\nX: y",
    "none",
    "null",
    "NaN",
    "-1",
    "1e400",
    "\ud800",
    "\ufeff",
    "\u2028",
    "é",
    "%00",
    "%ff",
    "%",
    "..",
    "../../etc/passwd",
    "' OR 1=1 --",
    "*",
    "a" * 300,
    "=",
    "==",
    "&",
    "+",
    "\\",
    '"',
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    2**63,
    10**400,
    [],
    {},
    [[[[[[[[[[1]]]]]]]]]],
    {"a": {"b": {}}},
    *ODD_TEXT,
)


def text(random: Random, base: str) -> str:
    """Return the text with one to four small injuries."""
    for _ in range(random.randint(1, 4)):
        base = random.choice(_ON_TEXT)(random, base)
    return base[:40_000]


def value(random: Random, base: Any) -> Any:
    """Return another value of the same or of another type."""
    if isinstance(base, str) and random.random() < 0.5:
        return text(random, base)
    if isinstance(base, (int, float)) and not isinstance(base, bool) and abs(base) < 2**53 and random.random() < 0.5:
        return base + random.choice((-(10**9), -1000, -61, -1, 1, 31, 61, 1000, 10**9, 0.5))
    return random.choice(ODD_VALUES) if random.random() < 0.9 else [base, base]


def members(random: Random, base: dict[str, Any], *, names: Sequence[str]) -> dict[str, Any]:
    """Return the object with one to three members changed, left out or added."""
    changed = dict(base)
    for _ in range(random.randint(1, 3)):
        name = random.choice([*changed, *names])
        if random.random() < 0.2:
            changed.pop(name, None)
        else:
            changed[name] = value(random, changed.get(name, "x"))
    return changed


def document(random: Random, base: dict[str, Any]) -> bytes:
    """Return the JSON of the object, sometimes with a member twice, in another encoding or cut."""
    written = json.dumps(base)
    chance = random.random()
    if chance < 0.05 and base:
        name = random.choice(list(base))
        written = f"{written[:-1]},{json.dumps(name)}:{json.dumps(base[name])}}}"
    elif chance < 0.08:
        return written.encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1")), "replace")
    elif chance < 0.12:
        written = text(random, written)
    elif chance < 0.13:
        written = "[" * random.randint(1, 5_000)
    return written.encode("utf-8", "surrogatepass")


def token(random: Random, base: str, other: str) -> str:
    """Return a compact token cut, spliced with another, or injured as text."""
    chance = random.random()
    if chance < 0.3:
        mine, theirs = base.split("."), other.split(".")
        return (
            ".".join(
                random.choice((mine, theirs))[i % 3 : i % 3 + 1][0] for i in range(random.choice((2, 3, 3, 3, 4, 5)))
            )
            if len(mine) == len(theirs) == 3
            else base + other
        )
    if chance < 0.4:
        segments = base.split(".")
        place = random.randrange(len(segments))
        segments[place] = jose.encode_segment(random.randbytes(random.randint(0, 80)))
        return ".".join(segments)
    return text(random, base)


def _flip(random: Random, base: str) -> str:
    place = random.randrange(len(base) + 1)
    return base[:place] + chr(random.randrange(1, 128)) + base[place + 1 :]


def _insert(random: Random, base: str) -> str:
    place = random.randrange(len(base) + 1)
    return base[:place] + random.choice(ODD_TEXT) + base[place:]


def _cut(random: Random, base: str) -> str:
    place = random.randrange(len(base) + 1)
    return base[:place]


def _remove(random: Random, base: str) -> str:
    place = random.randrange(len(base) + 1)
    return base[:place] + base[place + random.randint(1, 5) :]


def _repeat(random: Random, base: str) -> str:
    return base * random.randint(2, 3) if len(base) < 10_000 else base


def _case(random: Random, base: str) -> str:
    return random.choice((base.upper(), base.lower(), base.swapcase(), base[::-1]))


_ON_TEXT: tuple[Callable[[Random, str], str], ...] = (
    _flip,
    _flip,
    _flip,
    _insert,
    _insert,
    _cut,
    _remove,
    _repeat,
    _case,
)
