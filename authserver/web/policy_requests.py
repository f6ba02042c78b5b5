"""A request to one of this server's own doors, as the policies are asked about it."""

from urllib.parse import parse_qsl

from authserver.protocol.policy_request import PolicyRequest
from authserver.web.incoming import Incoming


def own_request(
    request: Incoming, interaction: str, *, resource_type: str | None = None, resource_id: str | None = None
) -> PolicyRequest:
    """Return the description; bodies are not part of it, since they may hold secrets of clients."""
    return PolicyRequest(
        method=request.method,
        path=request.path,
        parameters=tuple(parse_qsl(request.query, keep_blank_values=True)),
        interaction=interaction,
        resource_type=resource_type,
        resource_id=resource_id,
        headers=request.headers(),
        remote_addr=request.source,
        id=request.request_id,
    )
