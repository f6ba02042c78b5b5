"""From where a request comes, as far as that can be believed (threats C08 and C10)."""

import pytest

from authserver.protocol.source_address import UNKNOWN, source_of, trusted

PROXIES = trusted(["10.0.0.1", "10.0.0.2", "2001:db8::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:443"], "10.0.0.1"),
        ("2001:db8::1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("[2001:db8:1:2::9]", [], "2001:db8:1:2::/64"),
        ("", ["198.51.100.7"], UNKNOWN),
        (None, [], UNKNOWN),
    ],
)
def test_the_source_is_the_last_address_that_no_trusted_proxy_has(
    peer: str | None, forwarded: list[str], source: str
) -> None:
    """C10: whoever is no proxy of ours cannot choose under whom he is counted."""
    assert source_of(peer, forwarded, proxies=PROXIES) == source


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert source_of("10.0.0.1", ["198.51.100.7"], proxies=trusted([])) == "10.0.0.1"


def test_a_header_of_any_length_is_read_from_its_end() -> None:
    assert source_of("10.0.0.1", ["1.1.1.1," * 10_000 + "198.51.100.7"], proxies=PROXIES) == "198.51.100.7"


@pytest.mark.parametrize("entry", ["10.0.0.0/8", "proxy.example", "*", ""])
def test_a_trusted_proxy_is_one_exact_address(entry: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        trusted([entry])
