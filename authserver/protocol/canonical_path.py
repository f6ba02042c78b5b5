"""One spelling for every path: what a proxy, a policy and a router could read differently is refused (threat G05)."""

from urllib.parse import urlsplit

from authserver.errors import NonCanonicalPath

METHOD_OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
"""Request headers by which some servers let a caller change the method; they are refused (threat G06)."""


def check(path: str, *, raw_target: str | None) -> None:
    """Raise NonCanonicalPath unless the decoded path is the only way to spell itself.

    Refused: empty, `.` and `..` segments, `;`, backslashes, percent signs and everything outside printable ASCII.
    `raw_target` is the request target as sent, where the server tells it: no path of ours needs an escape in it.
    """
    if "%" in _path_of(raw_target or ""):
        raise NonCanonicalPath
    if any(not "!" <= character <= "~" or character in "%;\\" for character in path):
        raise NonCanonicalPath
    *inner, last = path.split("/")[1:] or [""]
    if any(segment in ("", ".", "..") for segment in inner) or last in (".", ".."):
        raise NonCanonicalPath


def _path_of(target: str) -> str:
    """Return the path of a request target, which may be in absolute form (RFC 9112 section 3.2.2)."""
    return target.partition("?")[0] if target.startswith("/") else urlsplit(target).path
