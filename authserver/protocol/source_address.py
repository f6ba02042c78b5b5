"""Where a request comes from, as far as that can be believed: the peer, or what a trusted proxy says before it.

Knows addresses; knows no request.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from authserver.protocol.public_addresses import Address, unwrapped

UNKNOWN = "unknown"
"""The source when the peer has no address, as over a Unix socket."""

_IPV6_PREFIX = 64
_MAX_HOPS = 32


def trusted(entries: Sequence[str]) -> frozenset[Address]:
    """Return the proxies of a setting; raises ValueError for what is no single address."""
    return frozenset(unwrapped(ip_address(entry)) for entry in entries)


def source_of(peer: str | None, forwarded_for: Sequence[str], *, proxies: frozenset[Address]) -> str:
    """Return the source that a caller is counted under: an IPv4 address, or the /64 network of an IPv6 one.

    `forwarded_for` are the X-Forwarded-For headers as received. They count only when the peer is a trusted proxy;
    then the last address that is no trusted proxy is the source, since everything before it is the caller's own
    writing. What cannot be read there is not believed: the source is the proxy that wrote it.
    """
    nearest = _address(peer or "")
    if nearest is None:
        return UNKNOWN
    if not proxies or not forwarded_for:
        return _counted_under(nearest)
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    for hop in reversed(hops[-_MAX_HOPS:]):
        if nearest not in proxies:
            break
        said = _address(hop)
        if said is None:
            break
        nearest = said
    return _counted_under(nearest)


@lru_cache(maxsize=1_024)
def _address(text: str) -> Address | None:
    try:
        return unwrapped(ip_address(text.strip("[]").partition("%")[0]))
    except ValueError:
        return None


@lru_cache(maxsize=1_024)
def _counted_under(address: Address) -> str:
    # Whoever has an IPv6 address has at least the whole /64 around it (RFC 6177 section 2).
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)
