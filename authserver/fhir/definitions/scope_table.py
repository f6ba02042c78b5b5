"""Write `authserver/protocol/search_parameters.py`: which search parameters a scope on each type may name.

Run `python -m authserver.fhir.definitions.scope_table > authserver/protocol/search_parameters.py` after `r4.json` has
changed; the pure rules of scopes may not read this package's table, so they have the names alone.
"""

import sys
import textwrap

from authserver.fhir.definitions.tables import COMMON, Definitions, load_definitions

_HEAD = '''"""The search parameters that a scope may name, by resource type: those of FHIR R4 that narrow what is read.

Written by `python -m authserver.fhir.definitions.scope_table` from the table that the FHIR layer enforces with; change
that one. Composite and special parameters are not among them: no scope could be enforced by them.
"""

from collections.abc import Mapping

COMMON = frozenset("{common}".split())
"""Search parameters of every resource, the only ones that can narrow the wildcard.

No other name with an underscore is a filter: `_include` or `_sort` would change the answer, not narrow it.
"""


def defined(resource_type: str, name: str) -> bool:
    """Say whether R4 defines the search parameter for the type (`*`: for every type)."""
    return name in COMMON or name in _BY_TYPE.get(resource_type, frozenset())


def _read(table: str) -> Mapping[str, frozenset[str]]:
    rows = (line.partition(": ") for line in table.replace("\\n  ", " ").strip().splitlines())
    return {{resource_type: frozenset(names.split()) for resource_type, _, names in rows}}


_BY_TYPE = _read("""
'''


def module(definitions: Definitions) -> str:
    """Return the source text of the module."""
    common = {parameter.code for parameter in definitions.parameters("Binary")}
    rows = []
    for resource_type in sorted(definitions.resource_types - {COMMON}):
        plain = [one for one in definitions.parameters(resource_type) if not one.components]
        names = [one.code for one in plain if one.code not in common]
        if names:
            row = f"{resource_type}: {' '.join(names)}"
            rows.extend(textwrap.wrap(row, 118, subsequent_indent="  ", break_on_hyphens=False))
    return _HEAD.format(common=" ".join(sorted(common))) + "\n".join(rows) + '\n""")\n'


if __name__ == "__main__":
    sys.stdout.write(module(load_definitions()))
