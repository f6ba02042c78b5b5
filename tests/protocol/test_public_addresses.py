"""Which addresses are public: threats C01 and C02."""

from ipaddress import ip_address

import pytest

from authserver.protocol.public_addresses import AddressKind, embedded_ipv4, is_public, kind, unwrapped

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"]
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]
PRIVATE = [
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "fc00::1",
    "fdff::1",
    "::ffff:10.0.0.1",
]
SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_an_ordinary_internet_address_is_public(text: str) -> None:
    assert is_public(ip_address(text)) is True


@pytest.mark.parametrize("text", LOOPBACK + PRIVATE + SPECIAL)
def test_any_other_address_is_not_public(text: str) -> None:
    """C01, C02: also where `ipaddress` says global."""
    assert is_public(ip_address(text)) is False


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(LOOPBACK, AddressKind.LOOPBACK), (PRIVATE, AddressKind.PRIVATE), (SPECIAL, AddressKind.SPECIAL)],
)
def test_an_address_has_one_kind(texts: list[str], expected: AddressKind) -> None:
    assert [kind(ip_address(text)) for text in texts] == [expected] * len(texts)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("64:ff9b::7f00:1", "127.0.0.1"),
        ("2002:7f00:1::1", "127.0.0.1"),
        ("::10.0.0.1", "10.0.0.1"),
        ("2001:0:102:304:0:0:80ff:fffe", "127.0.0.1"),
    ],
)
def test_the_ipv4_address_inside_a_translated_one_is_found(text: str, inside: str) -> None:
    assert embedded_ipv4(ip_address(text)) == ip_address(inside)


@pytest.mark.parametrize("text", ["127.0.0.1", "2606:4700::1", "fc00::1"])
def test_an_ordinary_address_embeds_no_other(text: str) -> None:
    assert embedded_ipv4(ip_address(text)) is None


@pytest.mark.parametrize(
    ("text", "plain"), [("::ffff:1.2.3.4", "1.2.3.4"), ("1.2.3.4", "1.2.3.4"), ("fc00::1", "fc00::1")]
)
def test_only_a_mapped_address_is_unwrapped(text: str, plain: str) -> None:
    assert unwrapped(ip_address(text)) == ip_address(plain)
