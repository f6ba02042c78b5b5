"""Say what kind of network an IP address belongs to. Knows address tables only; resolves nothing."""

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class AddressKind(Enum):
    """Where an address leads: PUBLIC the Internet, LOOPBACK this host, PRIVATE a site, SPECIAL none of these."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    SPECIAL = "special"


_LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

# RFC 1918, RFC 6598 (carrier-grade NAT) and RFC 4193.
_PRIVATE: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)

# Where clouds answer with credentials, outside 169.254.0.0/16: inside the private ranges, or looking public.
_METADATA: tuple[Network, ...] = (
    IPv4Network("100.100.100.200/32"),
    IPv4Network("168.63.129.16/32"),
    IPv6Network("fd00:ec2::254/128"),
    IPv6Network("fd20:ce::254/128"),
)

# `is_global` calls some of these global, and its answer varies with the version of Python: an own table on top.
_SPECIAL: tuple[Network, ...] = (
    *_METADATA,
    IPv4Network("0.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.0.2.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("240.0.0.0/4"),
    IPv6Network("2001::/23"),  # IETF assignments: Teredo, benchmarking, ORCHID
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)

# Everything public in IPv6 is in here; NAT64, IPv4-compatible, fec0::/10, 5f00::/16, multicast ... are not.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address inside an IPv4-mapped one (::ffff:0:0/96, RFC 4291 2.5.5.2), else the address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that a translator or tunnel would make of it, None when there is none.

    Covers NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380) and IPv4-compatible addresses.
    """
    if not isinstance(address, IPv6Address):
        return None
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.sixtofour


def contains(networks: tuple[Network, ...], address: Address) -> bool:
    """Say whether one of the networks holds the address (of the same IP version)."""
    return any(address.version == network.version and address in network for network in networks)


def kind(address: Address) -> AddressKind:
    """Return where the address leads; an IPv4-mapped address is judged by the IPv4 address inside."""
    address = unwrapped(address)
    if contains(_SPECIAL, address):
        return AddressKind.SPECIAL
    if contains(_LOOPBACK, address):
        return AddressKind.LOOPBACK
    if contains(_PRIVATE, address):
        return AddressKind.PRIVATE
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return AddressKind.SPECIAL
    return AddressKind.PUBLIC if address.is_global else AddressKind.SPECIAL


def is_public(address: Address) -> bool:
    """Say whether the address is an ordinary unicast address of the public Internet."""
    return kind(address) is AddressKind.PUBLIC
