"""Regular expressions that take time in proportion to the text, whoever wrote them (threat G09). PURE.

The engine is RE2: no backtracking, so no back references and no look-around. Its syntax:
https://github.com/google/re2/wiki/Syntax.
"""

from dataclasses import dataclass, field
from typing import Any

import re2

MAX_LENGTH = 1_000
"""Characters of an expression."""

_MAX_MEMORY = 1 << 20
"""Bytes that the engine may use for one expression; `(a{1000}){1000}` is refused by it when compiled."""


class InvalidRegex(ValueError):
    """The text is no expression that the engine takes; the message says why."""


@dataclass(frozen=True, slots=True)
class Regex:
    """A compiled expression; `source` is how it was written."""

    source: str
    ignore_case: bool = False
    _compiled: Any = field(default=None, compare=False, repr=False)

    def is_found_in(self, text: str) -> bool:
        """Say whether the expression matches some part of the text.

        Raises UnicodeEncodeError for text that is none: it has half of a surrogate pair.
        """
        return self._compiled.search(text.encode("utf-8")) is not None


def compile_regex(source: str, *, ignore_case: bool = False) -> Regex:
    """Return the expression, to be searched for anywhere in a text; raises InvalidRegex."""
    if not source:
        raise InvalidRegex("an empty expression is found in every text")
    if len(source) > MAX_LENGTH:
        raise InvalidRegex(f"longer than {MAX_LENGTH} characters")
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = _MAX_MEMORY, False, True
    options.case_sensitive = not ignore_case
    try:
        return Regex(source, ignore_case, re2.compile(source.encode("utf-8"), options))
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidRegex(_said(error)) from error


def _said(error: Exception) -> str:
    """Return the engine's own words, which name the construct that it does not take."""
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else "not a regular expression"
