"""What can be wrong with a search, as errors that name the parameter in OperationOutcome.issue.expression."""

import re

from authserver.errors import BadRequest, Issue, NotSupported

_SAFE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:.\-]{0,63}", re.ASCII)


class UnsupportedParameter(NotSupported):
    """The search parameter is not one that this server has for the type."""

    default_reason = "unsupported_parameter"
    default_public = "This search parameter is not supported."

    def __init__(self, name: str, *, detail: str = "") -> None:
        self.name = name
        super().__init__(detail=detail)

    def issues(self) -> tuple[Issue, ...]:
        """Return one issue that names the parameter."""
        return (Issue(_expression(self.name), self.public, self.issue_code),)


class UnsupportedModifier(UnsupportedParameter):
    """The parameter is known, what stands behind its colon is not; no client has that ignored: it narrows."""

    default_public = "This search parameter does not have this modifier."


class MalformedParameter(BadRequest):
    """The value of a search parameter cannot be understood. The value itself is not repeated: it may be PHI."""

    default_reason = "malformed_parameter"
    default_public = "The value of this search parameter is malformed."

    def __init__(self, name: str, *, detail: str = "") -> None:
        self.name = name
        super().__init__(detail=detail)

    def issues(self) -> tuple[Issue, ...]:
        """Return one issue that names the parameter."""
        return (Issue(_expression(self.name), self.public, self.issue_code),)


def _expression(name: str) -> str:
    """Return the name when it is plain enough to be shown, else nothing."""
    return f"http.{name}" if _SAFE_NAME.fullmatch(name) else ""
