"""Which jwks_uri may be registered: threats C01 and C05, and the allow-list."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.protocol.jwks_url import (
    JwksUrl,
    JwksUrlRules,
    Origin,
    UnsafeJwksUrl,
    check,
    may_connect,
)

STRICT = JwksUrlRules()
DEVELOPMENT = JwksUrlRules(development=True)

# Each of these reaches this host through some resolver or HTTP library.
LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "00000000",
    "2130706433",
    "02130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.1",
    "00177.0.0.01",
    "127.0.0.01",
    "127.0.0.1.",
    "127.1.",
    "127.0.0.0x1",
    "127.0x1",
    "0x",
    "256.0.0.1",
    "127.0.0.256",
    "1.127.0.0.1",
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "127.0.0.1%2e",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "127。0。0。1",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127.0.0.1\t",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1]",
]


def reason(url: str, rules: JwksUrlRules = STRICT) -> str:
    """Return the code with which the URL is refused."""
    with pytest.raises(UnsafeJwksUrl) as refused:
        check(url, rules=rules)
    return refused.value.reason_code


def test_an_https_url_of_a_public_host_is_taken_apart() -> None:
    url = check("https://Keys.Example.ORG/a/jwks.json?v=1&x=%20", rules=STRICT)

    assert url == JwksUrl(
        origin=Origin("https", "keys.example.org", 443), target="/a/jwks.json?v=1&x=%20", address=None, listed=False
    )


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://example.org", Origin("https", "example.org", 443), "/"),
        ("https://example.org?x", Origin("https", "example.org", 443), "/?x"),
        ("https://example.org:8443/", Origin("https", "example.org", 8443), "/"),
        ("https://xn--mnchen-3ya.example/", Origin("https", "xn--mnchen-3ya.example", 443), "/"),
        ("https://key_server/", Origin("https", "key_server", 443), "/"),
        ("https://1.1.1.1/", Origin("https", "1.1.1.1", 443), "/"),
        ("https://[2606:4700:0::1]/", Origin("https", "2606:4700::1", 443), "/"),
        ("https://example.org:65535//x", Origin("https", "example.org", 65535), "//x"),
    ],
)
def test_origin_and_target_of_a_good_url(url: str, origin: Origin, target: str) -> None:
    found = check(url, rules=STRICT)

    assert (found.origin, found.target) == (origin, target)
    assert (found.scheme, found.host, found.port) == (origin.scheme, origin.host, origin.port)


def test_an_address_literal_is_returned_as_address() -> None:
    assert check("https://1.1.1.1/", rules=STRICT).address == ip_address("1.1.1.1")
    assert check("https://[2606:4700::1]/", rules=STRICT).address == ip_address("2606:4700::1")


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
def test_no_spelling_of_this_host_is_registrable(host: str) -> None:
    """C01: 53 forms."""
    codes = {
        "jwks_blocked_address",
        "jwks_unclear_host",
        "jwks_url_unclear_host",
        "jwks_url_host",
        "jwks_url_characters",
    }

    assert reason(f"https://{host}/jwks.json") in codes


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "jwks_url_characters"),
        (" https://example.org/", "jwks_url_characters"),
        ("https://example.org/ x", "jwks_url_characters"),
        ("https://example.org/\r\nHost: evil", "jwks_url_characters"),
        ("https://example.org/\x00", "jwks_url_characters"),
        ("https://example.org/\x7f", "jwks_url_characters"),
        ("https://example.org/jwks\n", "jwks_url_characters"),
        ("https://exämple.org/", "jwks_url_characters"),
        ("https://evil\\@good.example/", "jwks_url_characters"),
        ("https://example.org/%zz", "jwks_url_characters"),
        ("https://example.org/%2", "jwks_url_characters"),
        ('https://example.org/"', "jwks_url_characters"),
        ("file:///etc/passwd", "jwks_url_scheme"),
        ("ftp://example.org/", "jwks_url_scheme"),
        ("data:application/json,1", "jwks_url_scheme"),
        ("gopher://example.org/", "jwks_url_scheme"),
        ("unix:/run/x.sock", "jwks_url_scheme"),
        ("HTTPS://example.org/", "jwks_url_scheme"),
        ("https:/example.org/", "jwks_url_scheme"),
        ("https:example.org/", "jwks_url_scheme"),
        ("//example.org/", "jwks_url_scheme"),
        ("example.org", "jwks_url_scheme"),
        ("http://example.org/", "jwks_url_not_https"),
        ("https://good.example@evil.example/", "jwks_url_userinfo"),
        ("https://u:p@example.org/", "jwks_url_userinfo"),
        ("https://@example.org/", "jwks_url_userinfo"),
        ("https://example.org/#a", "jwks_url_fragment"),
        ("https://example.org#", "jwks_url_fragment"),
        ("https://", "jwks_url_host"),
        ("https:///x", "jwks_url_host"),
        ("https://:443/", "jwks_url_host"),
        ("https://a..b/", "jwks_url_host"),
        ("https://.example.org/", "jwks_url_host"),
        ("https://-a.example/", "jwks_url_host"),
        ("https://*.example/", "jwks_url_host"),
        ("https://[::1/", "jwks_url_host"),
        ("https://a[b]/", "jwks_url_host"),
        (f"https://{'a' * 64}.example/", "jwks_url_host"),
        (f"https://{'a.' * 127}b.example/", "jwks_url_host"),
        ("https://example.org./", "jwks_url_unclear_host"),
        ("https://1.2.3/", "jwks_url_unclear_host"),
        ("https://[1.2.3.4]/", "jwks_url_unclear_host"),
        ("https://[v1.x]/", "jwks_url_unclear_host"),
        ("https://example.org:/", "jwks_url_port"),
        ("https://example.org:0/", "jwks_url_port"),
        ("https://example.org:0443/", "jwks_url_port"),
        ("https://example.org:65536/", "jwks_url_port"),
        ("https://example.org:+443/", "jwks_url_port"),
        ("https://example.org:443:443/", "jwks_url_port"),
        ("https://example.org:22/", "jwks_url_port_blocked"),
        ("https://example.org:1023/", "jwks_url_port_blocked"),
        ("https://example.org:80/", "jwks_url_port_blocked"),
        ("https://10.0.0.1/", "jwks_blocked_address"),
        ("https://169.254.169.254/", "jwks_blocked_address"),
        ("https://[fd00:ec2::254]/", "jwks_blocked_address"),
        ("https://localhost/", "jwks_blocked_address"),
    ],
)
def test_each_rule_has_its_reason(url: str, code: str) -> None:
    """C05."""
    assert reason(url) == code


def test_a_scope_id_is_refused() -> None:
    assert reason("https://[fe80::1%25]/") == "jwks_url_unclear_host"


def test_the_length_limit_is_exact() -> None:
    longest = "https://example.org/" + "a" * (2_048 - 20)

    assert check(longest, rules=STRICT).host == "example.org"
    assert reason(longest + "a") == "jwks_url_too_long"


def test_the_sentence_repeats_nothing_of_the_url() -> None:
    with pytest.raises(UnsafeJwksUrl) as refused:
        check("https://s3cret@example.org/", rules=STRICT)

    assert str(refused.value) == "jwks_url_userinfo: The URL has a user name or password."


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8082/.well-known/jwks.json", "http://127.0.0.1/", "http://[::1]:1234/", "http://example.org/"],
)
def test_development_allows_http_and_loopback(url: str) -> None:
    assert check(url, rules=DEVELOPMENT).scheme == "http"


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/", "https://[::ffff:10.0.0.1]/"])
def test_development_allows_no_private_address(url: str) -> None:
    assert reason(url, DEVELOPMENT) == "jwks_blocked_address"


def test_a_listed_origin_may_use_http_a_low_port_and_loopback() -> None:
    rules = JwksUrlRules.from_allow_list(["http://localhost:82", "https://10.1.2.3:444"])

    assert check("http://LOCALHOST:82/jwks", rules=rules).listed is True
    assert check("https://10.1.2.3:444/jwks", rules=rules).listed is True


@pytest.mark.parametrize("url", ["http://localhost:83/", "https://localhost:82/", "http://a.localhost:82/"])
def test_a_listed_origin_vouches_for_itself_only(url: str) -> None:
    rules = JwksUrlRules.from_allow_list(["http://localhost:82"])

    assert reason(url, rules) in {"jwks_url_not_https", "jwks_blocked_address", "jwks_url_port_blocked"}


def test_the_default_port_of_a_listed_origin_may_be_left_out() -> None:
    rules = JwksUrlRules.from_allow_list(["http://keys.internal"])

    assert check("http://keys.internal:80/x", rules=rules).listed is True


def test_a_listed_network_allows_its_addresses_also_over_http() -> None:
    rules = JwksUrlRules.from_allow_list(["10.20.0.0/16"])

    assert check("http://10.20.3.4:8080/", rules=rules).address == ip_address("10.20.3.4")
    assert check("https://[::ffff:10.20.3.4]/", rules=rules).address == ip_address("::ffff:10.20.3.4")
    assert reason("https://10.21.0.1/", rules) == "jwks_blocked_address"
    assert reason("http://keys.internal/", rules) == "jwks_url_not_https"


def test_a_further_low_port_can_be_allowed() -> None:
    rules = JwksUrlRules.from_allow_list([], low_ports=[443, 444])

    assert check("https://example.org:444/", rules=rules).port == 444
    assert reason("https://example.org:445/", rules) == "jwks_url_port_blocked"


@pytest.mark.parametrize(
    "entry", ["localhost", "10.0.0.1/8", "http://localhost/", "http://localhost/x", "http://u@h", "ftp://h", "*", ""]
)
def test_an_allow_list_entry_that_is_neither_origin_nor_network_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="allow-list") as refused:
        JwksUrlRules.from_allow_list([entry])

    assert repr(entry) in str(refused.value)


def test_rules_of_an_allow_list() -> None:
    rules = JwksUrlRules.from_allow_list(["http://localhost:8082", "fd00::/8"], development=True)

    assert rules == JwksUrlRules(
        origins=frozenset({Origin("http", "localhost", 8082)}), networks=(ip_network("fd00::/8"),), development=True
    )


@pytest.mark.parametrize(
    ("address", "public", "listed", "development", "network"),
    [
        ("1.1.1.1", True, True, True, True),
        ("127.0.0.1", False, True, True, False),
        ("::ffff:127.0.0.1", False, True, True, False),
        ("10.0.0.1", False, True, False, True),
        ("192.168.0.1", False, True, False, False),
        ("169.254.169.254", False, False, False, False),
        ("0.0.0.0", False, False, False, False),
        ("64:ff9b::a00:1", False, False, False, True),
        ("64:ff9b::7f00:1", False, False, False, False),
        ("64:ff9b::101:101", False, False, False, True),
    ],
)
def test_which_resolved_address_may_be_connected_to(
    address: str, public: bool, listed: bool, development: bool, network: bool
) -> None:
    """C02, C04: the same rules for an address that a name resolved to."""
    origin_rules = JwksUrlRules.from_allow_list(["https://keys.example"])
    network_rules = JwksUrlRules.from_allow_list(["10.0.0.0/8", "64:ff9b::/96"])

    verdicts = tuple(
        may_connect(check("https://keys.example/", rules=rules), ip_address(address), rules=rules)
        for rules in (STRICT, origin_rules, DEVELOPMENT, network_rules)
    )

    assert verdicts == (public, listed, development, network)


@given(st.text(max_size=60) | st.from_regex(r"https?://[!-~]{0,30}", fullmatch=True))
def test_any_text_is_either_refused_or_https_of_a_public_host(text: str) -> None:
    try:
        url = check(text, rules=STRICT)
    except UnsafeJwksUrl:
        return

    assert url.scheme == "https"
    assert url.address is None or may_connect(url, url.address, rules=STRICT)
    assert set(url.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.:")
