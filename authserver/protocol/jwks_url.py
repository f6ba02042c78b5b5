"""Decide which `jwks_uri` may be registered and which addresses its host may have when it is fetched.

Knows the text of the URL, the operator's rules and the kinds of addresses; resolves and fetches nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Self

from authserver.protocol.public_addresses import (
    Address,
    AddressKind,
    Network,
    contains,
    embedded_ipv4,
    kind,
    unwrapped,
)

MAX_URL_LENGTH = 2_048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCALHOST = IPv4Address("127.0.0.1")

# RFC 3986 section 2: reserved and unreserved characters and complete percent escapes; nothing else.
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_PARTS = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?P<fragment>#.*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# The last label of such a host makes inet_aton() read the whole as an IPv4 address (127.1, 0x7f.1, 2130706433).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class UnsafeJwksUrl(Exception):
    """The URL may not be registered or fetched.

    `reason_code` is one word per rule, stable, for logs and tests; `sentence` explains the rule to the
    person who registers the client and repeats nothing of the URL.
    """

    def __init__(self, reason_code: str, sentence: str) -> None:
        self.reason_code = reason_code
        self.sentence = sentence
        super().__init__(f"{reason_code}: {sentence}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower case, IPv6 without brackets) and port."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class JwksUrl:
    """A URL that passed check(). `target` is path and query, as the request line carries it.

    `address` is set when the host is an address literal; `listed` when the operator named this origin.
    """

    origin: Origin
    target: str
    address: Address | None
    listed: bool

    @property
    def scheme(self) -> str:
        """Return `http` or `https`."""
        return self.origin.scheme

    @property
    def host(self) -> str:
        """Return the host in lower case, an IPv6 address without brackets."""
        return self.origin.host

    @property
    def port(self) -> int:
        """Return the port, the scheme's own when the URL names none."""
        return self.origin.port


@dataclass(frozen=True, slots=True)
class JwksUrlRules:
    """What the operator permits beyond https to public hosts.

    `origins` may use http, any port, and have loopback or private addresses; `networks` permits addresses
    of any kind. `development` permits http and loopback. `low_ports` are the permitted ports below 1024.
    """

    origins: frozenset[Origin] = frozenset()
    networks: tuple[Network, ...] = ()
    development: bool = False
    low_ports: frozenset[int] = frozenset({443})

    @classmethod
    def from_allow_list(
        cls,
        entries: Iterable[str],
        *,
        development: bool = False,
        low_ports: Iterable[int] = (443,),
    ) -> Self:
        """Build the rules from entries such as `http://keys.example:8082` and `10.20.0.0/16`.

        Raises ValueError, naming the entry, for one that is neither an exact origin nor a network.
        """
        listed = tuple(entries)
        return cls(
            origins=frozenset(_listed_origin(entry) for entry in listed if "://" in entry),
            networks=tuple(_listed_network(entry) for entry in listed if "://" not in entry),
            development=development,
            low_ports=frozenset(low_ports),
        )


def check(url: str, *, rules: JwksUrlRules) -> JwksUrl:
    """Return the parts of a URL that may be registered as `jwks_uri`, or raise UnsafeJwksUrl.

    A host name passes whatever it resolves to; may_connect() judges its addresses at every fetch.
    """
    origin, target = _split(url)
    found = JwksUrl(
        origin=origin,
        target=target if target.startswith("/") else f"/{target}",
        address=_literal(origin.host),
        listed=origin in rules.origins,
    )
    _refuse_plain_http(found, rules)
    _refuse_port(found, rules)
    _refuse_address(found, rules)
    return found


def may_connect(url: JwksUrl, address: Address, *, rules: JwksUrlRules) -> bool:
    """Say whether a key set of this URL may be fetched from this address.

    A network of the rules that covers a translated address (NAT64 and the like) permits it only when the
    IPv4 address inside would be permitted too.
    """
    address = unwrapped(address)
    found = kind(address)
    if found is AddressKind.PUBLIC:
        return True
    if contains(rules.networks, address):
        inside = embedded_ipv4(address) if found is AddressKind.SPECIAL else None
        return inside is None or may_connect(url, inside, rules=rules)
    if found is AddressKind.LOOPBACK:
        return url.listed or rules.development
    return found is AddressKind.PRIVATE and url.listed


def _split(url: str) -> tuple[Origin, str]:
    """Return origin and target (path and query, may be empty) of a URL without userinfo and fragment."""
    if len(url) > MAX_URL_LENGTH:
        raise UnsafeJwksUrl("jwks_url_too_long", f"The URL is longer than {MAX_URL_LENGTH} characters.")
    if _CHARACTERS.fullmatch(url) is None:
        raise UnsafeJwksUrl(
            "jwks_url_characters",
            "The URL is empty or has characters that RFC 3986 does not allow; percent-encode them.",
        )
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise UnsafeJwksUrl("jwks_url_scheme", "The URL does not begin with https:// in lower case.")
    if parts["fragment"] is not None:
        raise UnsafeJwksUrl("jwks_url_fragment", "The URL has a fragment.")
    if "@" in parts["authority"]:
        raise UnsafeJwksUrl("jwks_url_userinfo", "The URL has a user name or password.")
    return _origin(parts["scheme"], parts["authority"]), parts["target"]


def _origin(scheme: str, authority: str) -> Origin:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or not parts["host"]:
        raise UnsafeJwksUrl("jwks_url_host", "The URL names no valid host.")
    return Origin(scheme, _host(parts["host"].lower()), _port(scheme, parts["port"]))


def _port(scheme: str, text: str | None) -> int:
    if text is None:
        return _DEFAULT_PORTS[scheme]
    if _PORT.fullmatch(text) is None or int(text) > 65_535:
        raise UnsafeJwksUrl("jwks_url_port", "The port is not a number from 1 to 65535.")
    return int(text)


def _host(text: str) -> str:
    """Return the host if there is one reading of it only: a name, a dotted quad or a bracketed IPv6 address."""
    if text.startswith("["):
        return _ipv6_host(text[1:-1])
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]) or not labels[-1]:
        return _ipv4_host(text)
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UnsafeJwksUrl("jwks_url_host", "The URL names no valid host.")
    return text


def _ipv4_host(text: str) -> str:
    try:
        # Refuses 127.1, 0, 2130706433, 0x7f.1, 0177.0.0.1 and a trailing dot: readers disagree on all of them.
        return str(IPv4Address(text))
    except ValueError:
        raise UnsafeJwksUrl(
            "jwks_url_unclear_host", "The host is neither a plain name nor an IPv4 address in four decimal parts."
        ) from None


def _ipv6_host(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise UnsafeJwksUrl("jwks_url_unclear_host", "The host in brackets is no IPv6 address.") from None
    if address.scope_id is not None:
        raise UnsafeJwksUrl("jwks_url_unclear_host", "The host in brackets has a zone.")
    return str(address)


def _literal(host: str) -> Address | None:
    if ":" in host:
        return IPv6Address(host)
    return IPv4Address(host) if _NUMBER.fullmatch(host.rpartition(".")[2]) else None


def _refuse_plain_http(url: JwksUrl, rules: JwksUrlRules) -> None:
    if url.scheme == "https" or url.listed or rules.development:
        return
    if url.address is None or not contains(rules.networks, unwrapped(url.address)):
        raise UnsafeJwksUrl("jwks_url_not_https", "The URL is not https, and its origin is not on the allow-list.")


def _refuse_port(url: JwksUrl, rules: JwksUrlRules) -> None:
    if url.listed or url.port > 1_023 or url.port in rules.low_ports:
        return
    if (url.scheme, url.port) != ("http", 80):
        raise UnsafeJwksUrl("jwks_url_port_blocked", "Ports below 1024 other than 443 are not allowed.")


def _refuse_address(url: JwksUrl, rules: JwksUrlRules) -> None:
    # RFC 6761 section 6.3: localhost and every name below it mean loopback.
    is_localhost = f".{url.host}".endswith(".localhost")
    address = _LOCALHOST if is_localhost else url.address
    if address is not None and not may_connect(url, address, rules=rules):
        raise UnsafeJwksUrl("jwks_blocked_address", "The host is not public, and it is not on the allow-list.")


def _listed_origin(entry: str) -> Origin:
    try:
        origin, target = _split(entry)
    except UnsafeJwksUrl as error:
        raise ValueError(f"{entry!r} on the jwks_uri allow-list: {error.sentence}") from None
    if target:
        raise ValueError(f"{entry!r} on the jwks_uri allow-list: scheme, host and port only, no path")
    return origin


def _listed_network(entry: str) -> Network:
    try:
        return ip_network(entry)
    except ValueError as error:
        raise ValueError(f"{entry!r} on the jwks_uri allow-list is no origin and no network: {error}") from None
