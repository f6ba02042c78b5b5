"""A list of findings that does not grow without end, and never holds a value of the resource."""

import re

from authserver.errors import Issue

MAX_FINDINGS = 50

_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)


class Findings:
    """What is wrong with one resource; more than MAX_FINDINGS are not listed."""

    def __init__(self) -> None:
        self._issues: list[Issue] = []

    def add(self, expression: str, diagnostics: str, code: str) -> None:
        """Add a finding at a FHIRPath; `diagnostics` is a constant or made of R4's own words."""
        if len(self._issues) < MAX_FINDINGS:
            self._issues.append(Issue(expression, diagnostics, code))

    def unknown(self, path: str, name: str) -> None:
        """Add that the element has no member of this name, which is shown if it looks like one."""
        where = f"{path}.{name}" if _NAME.fullmatch(name) else path
        self.add(where, "R4 has no such element here.", "structure")

    @property
    def count(self) -> int:
        """How many findings are listed."""
        return len(self._issues)

    @property
    def issues(self) -> tuple[Issue, ...]:
        """Every finding, in the order of the resource."""
        return tuple(self._issues)
