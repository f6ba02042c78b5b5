"""Values that a statement put together as text would take for part of itself. Threat G11: none of them may match."""

from collections.abc import Sequence

QUOTES = ("'", '"', "\\", "\\'", "'--", "/*", ")", "'}")
STATEMENTS = (
    "' OR '1'='1",
    "' OR 1=1 --",
    "1 OR 1=1",
    "1 union select 1",
    "x') OR 1=1 --",
    "'; DROP TABLE resource; --",
    "1; SELECT pg_sleep(9)",
    "' UNION SELECT secret_hash FROM resource --",
    "'||(SELECT secret_hash FROM resource LIMIT 1)||'",
    "name; DELETE FROM resource_version",
)
PATTERNS = ("%", "_", "[a-z]", "*", "'$[*]'", "$1", ":name", "%s", "%(name)s")
BYTES = ("a\0b", "\r\n;", "\u2019 OR 1=1", "\u02bc--", "\ufffd", "\U0001f600'")

HOSTILE: Sequence[str] = (*QUOTES, *STATEMENTS, *PATTERNS, *BYTES)
"""Every value; no resource of the tests has one of them anywhere."""
