"""The hardened GET against hostile servers on real sockets: threats C01 to C07 and C13, requirement A11."""

import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.adapters.jwks_http import JwksHttp
from authserver.errors import JwksUnavailable
from authserver.protocol.jwks_freshness import FetchedJwks
from authserver.protocol.jwks_url import JwksUrlRules

DOCUMENT = b'{"keys":[]}'
STRICT = JwksUrlRules()
DEVELOPMENT = JwksUrlRules(development=True)
SHORT = 0.4
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Handler = Callable[[socket.socket], None]


class HostileServer:
    """Accepts connections on the loopback, keeps what each sent first, and lets `handle` answer as it likes."""

    def __init__(self, handle: Handler, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()
        self._handle = handle
        self._tls = tls
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> "HostileServer":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def url(self, path: str = "/jwks.json", *, scheme: str = "http", host: str = "localhost") -> str:
        """Return a URL of this server."""
        return f"{scheme}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(5)
                if self._tls is None:
                    self._answer(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                        self._answer(wrapped)
            except OSError:
                return

    def _answer(self, connection: socket.socket) -> None:
        self.requests.append(connection.recv(65_536))
        self._handle(connection)


def response(
    body: bytes = DOCUMENT, *, status: str = "200 OK", media_type: str = "application/json", extra: str = ""
) -> bytes:
    """Return a whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def answering(data: bytes) -> HostileServer:
    """Return a server that sends these bytes to everybody."""
    return HostileServer(lambda connection: connection.sendall(data))


def loopback(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def refused(http: JwksHttp, url: str, *, etag: str | None = None) -> str:
    """Return the reason with which the fetch fails."""
    with pytest.raises(JwksUnavailable) as failure:
        http.fetch(url, etag=etag)
    return failure.value.reason


@pytest.fixture
def http() -> JwksHttp:
    """A fetcher that may speak http to the loopback."""
    return JwksHttp(DEVELOPMENT, deadline=SHORT, resolve=loopback)


def test_a_key_set_is_fetched_with_its_headers(http: JwksHttp) -> None:
    headers = (
        "Cache-Control: public\r\nCache-Control: max-age=60\r\nAge: 3\r\nExpires: e\r\nDate: d\r\n"
        'ETag: "v1"\r\nLast-Modified: l\r\n'
    )

    with answering(response(extra=headers)) as server:
        fetched = http.fetch(server.url())

    assert fetched == FetchedJwks(
        status=200,
        body=DOCUMENT,
        cache_control="public, max-age=60",
        age="3",
        expires="e",
        date="d",
        etag='"v1"',
        last_modified="l",
    )


def test_the_request_says_only_what_it_must(http: JwksHttp) -> None:
    """A11: GET with Accept: application/json."""
    with answering(response()) as server:
        http.fetch(server.url("/a//b?c=%20"))

        assert server.requests[0].decode().split("\r\n") == [
            "GET /a//b?c=%20 HTTP/1.1",
            f"Host: localhost:{server.port}",
            "Accept: application/json",
            "Accept-Encoding: identity",
            "Connection: close",
            "User-Agent: authserver",
            "",
            "",
        ]


def test_a_conditional_request_may_be_answered_304(http: JwksHttp) -> None:
    with answering(b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=9\r\n\r\n") as server:
        fetched = http.fetch(server.url(), etag='"v1"', last_modified="Thu, 01 Jan 2026 00:00:00 GMT")

        assert fetched == FetchedJwks(status=304, cache_control="max-age=9")
        assert b'If-None-Match: "v1"\r\nIf-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\n' in server.requests[0]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_an_ipv6_host_is_fetched() -> None:
    http = JwksHttp(DEVELOPMENT)
    with HostileServer(lambda connection: connection.sendall(response()), address="::1") as server:
        assert http.fetch(server.url(host="[0::1]")).body == DOCUMENT
        assert f"Host: [::1]:{server.port}\r\n".encode() in server.requests[0]


@pytest.fixture(scope="module")
def shared_http() -> JwksHttp:
    return JwksHttp(DEVELOPMENT, deadline=SHORT, resolve=loopback)


@given(data=st.binary(max_size=300), head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", JSON_HEAD]))
@settings(max_examples=150, deadline=None)
def test_whatever_a_server_sends_there_is_one_error_only(shared_http: JwksHttp, data: bytes, head: bytes) -> None:
    """C13: nothing but JwksUnavailable leaves the fetcher."""
    with answering(head + data) as server:
        try:
            outcome = str(shared_http.fetch(server.url()).status)
        except JwksUnavailable as error:
            outcome = error.reason

    assert outcome == "200" or outcome.startswith("jwks_")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JWK-Set+JSON", "x/y+json"])
def test_json_types_are_accepted(http: JwksHttp, media_type: str) -> None:
    with answering(response(media_type=media_type)) as server:
        assert http.fetch(server.url()).body == DOCUMENT


def test_a_chunked_document_and_one_without_length_are_accepted(http: JwksHttp) -> None:
    with answering(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nb\r\n" + DOCUMENT + b"\r\n0\r\n\r\n") as server:
        assert http.fetch(server.url()).body == DOCUMENT
    with answering(JSON_HEAD + b"\r\n" + DOCUMENT) as server:
        assert http.fetch(server.url()).body == DOCUMENT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response(status="404 Not Found"), "jwks_status"),
        (response(status="500 Oops"), "jwks_status"),
        (response(status="201 Created"), "jwks_status"),
        (response(status="206 Partial Content"), "jwks_status"),
        (response(status="503 Busy", extra="Retry-After: 0\r\n"), "jwks_status"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "jwks_redirect"),
        (response(media_type="text/html"), "jwks_media_type"),
        (response(media_type="text/plain"), "jwks_media_type"),
        (response(media_type=""), "jwks_media_type"),
        (response(extra="Content-Type: text/html\r\n"), "jwks_media_type"),
        (response(gzip.compress(DOCUMENT), extra="Content-Encoding: gzip\r\n"), "jwks_encoded"),
        (response(extra="Content-Encoding: identity, gzip\r\n"), "jwks_encoded"),
        (response(b"x" * 64_001), "jwks_too_large"),
        (JSON_HEAD + b"\r\n" + b"x" * 200_000, "jwks_too_large"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 60_000 + b"\r\nZ: " + b"y" * 60_000, "jwks_too_large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 6_000, "jwks_too_large"),
        (JSON_HEAD + b"Content-Length: 99\r\n\r\n{}", "jwks_connection"),
        (
            JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            "jwks_connection",
        ),
        (b"", "jwks_connection"),
        (b"\x00\xff\x16\x03 nonsense\r\n\r\n", "jwks_connection"),
        (b"HTTP/1.1 abc\r\n\r\n", "jwks_connection"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "jwks_connection"),
    ],
)
def test_any_other_answer_is_refused(http: JwksHttp, answer: bytes, reason: str) -> None:
    """C07, C13: one exception for every cause, the cause in the log only."""
    with answering(answer) as server:
        assert refused(http, server.url()) == reason
        assert server.connections == 1


def test_the_size_limit_is_exact(http: JwksHttp) -> None:
    with answering(response(b"x" * 64_000)) as server:
        assert len(http.fetch(server.url()).body) == 64_000


def test_a_set_cookie_header_and_odd_validators_leave_no_trace(http: JwksHttp) -> None:
    odd = f"Set-Cookie: a=b; Path=/\r\nETag: {'x' * 600}\r\nLast-Modified: caf\xe9\r\n"

    with answering(response(extra=odd)) as server:
        first = http.fetch(server.url())
        http.fetch(server.url())

        assert (first.etag, first.last_modified) == (None, None)
        assert b"Cookie" not in server.requests[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(http: JwksHttp, status: int) -> None:
    """C03: also its body, a compressed bomb, is neither read nor decoded."""
    bomb = gzip.compress(b"0" * 10_000_000)
    with answering(response()) as target:
        location = f"Location: {target.url()}\r\nContent-Encoding: gzip\r\n"
        with answering(response(bomb, status=f"{status} Found", extra=location)) as server:
            assert refused(http, server.url()) == "jwks_redirect"

            assert (server.connections, target.connections) == (1, 0)


def drip(data: bytes, *, before: bytes = b"") -> Handler:
    """Return a handler that sends one byte every 20 ms, for ever."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            for position in range(len(data)):
                connection.sendall(data[position : position + 1])
                time.sleep(0.02)

    return handle


@pytest.mark.parametrize(
    "handle",
    [
        drip(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 30_000),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b" ", before=JSON_HEAD + b"Content-Length: 60000\r\n\r\n"),
        drip(
            b"1\r\n \r\n",
            before=JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        ),
        lambda _connection: time.sleep(0.6),
    ],
    ids=["headers", "1xx", "body", "chunks", "silence"],
)
def test_a_drip_ends_at_the_deadline(http: JwksHttp, handle: Handler) -> None:
    """C06: absolute, although every single read succeeds long before its timeout."""
    with HostileServer(handle) as server:
        started = time.monotonic()
        reason = refused(http, server.url())
        took = time.monotonic() - started

    assert reason == "jwks_timeout"
    assert SHORT <= took < SHORT + 0.4


def test_a_stalled_tls_handshake_ends_at_the_deadline() -> None:
    """C06."""
    http = JwksHttp(DEVELOPMENT, deadline=SHORT, resolve=loopback)
    with HostileServer(drip(b"\x00", before=b"\x16\x03\x03\x40\x00")) as server:
        started = time.monotonic()
        reason = refused(http, server.url(scheme="https"))
        took = time.monotonic() - started

    assert reason == "jwks_timeout"
    assert SHORT <= took < SHORT + 0.4


def test_a_resolver_that_does_not_answer_ends_at_the_deadline() -> None:
    """C06: the deadline covers the name lookup, and abandoned lookups are bounded."""
    release = threading.Event()

    def stuck(_host: str, _port: int) -> Sequence[str]:
        release.wait(10)
        return []

    http = JwksHttp(STRICT, deadline=0.05, max_concurrent=1, resolve=stuck)
    reasons = [refused(http, "https://keys.example/") for _ in range(5)]
    release.set()

    assert reasons == ["jwks_timeout"] * 4 + ["jwks_dns_busy"]


def test_the_next_address_is_tried_when_one_refuses(free_port: int) -> None:
    http = JwksHttp(DEVELOPMENT, deadline=2, resolve=lambda _host, _port: ["127.0.0.2", "127.0.0.1"])
    with answering(response()) as server:
        assert http.fetch(server.url()).status == 200
    assert refused(http, f"http://localhost:{free_port}/") == "jwks_connection"


@pytest.fixture
def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_host_without_threads_to_spare_refuses_the_fetch() -> None:
    """A real failure: no stack of that size can be had, so the lookup's thread does not start."""
    http = JwksHttp(STRICT, max_concurrent=1, resolve=lambda _host, _port: [])
    usual = threading.stack_size(2**46)
    try:
        reasons = [refused(http, "https://keys.example/") for _ in range(5)]
    finally:
        threading.stack_size(usual)

    assert reasons == ["jwks_dns_busy"] * 5
    assert refused(http, "https://keys.example/") == "jwks_dns"


def test_too_many_fetches_at_once_are_refused_at_once() -> None:
    """The bulkhead: a caller never queues behind hostile hosts."""
    arrived, release = threading.Semaphore(0), threading.Event()

    def hold(connection: socket.socket) -> None:
        arrived.release()
        release.wait(5)
        connection.sendall(response())

    http = JwksHttp(DEVELOPMENT, deadline=5, max_concurrent=2, resolve=loopback)
    with HostileServer(hold) as server, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(http.fetch, server.url()) for _ in range(2)]
        for _ in running:
            arrived.acquire(timeout=5)

        reason = refused(http, server.url())
        release.set()

        assert reason == "jwks_fetch_busy"
        assert [future.result().status for future in running] == [200, 200]
        assert http.fetch(server.url()).status == 200


def test_fifty_hostile_hosts_at_once_end_together() -> None:
    """C06: 50 slow hosts cost one deadline, not fifty."""
    http = JwksHttp(DEVELOPMENT, deadline=SHORT, max_concurrent=50, resolve=loopback)
    with HostileServer(drip(b"H")) as server, ThreadPoolExecutor(50) as pool:
        started = time.monotonic()
        reasons = set(pool.map(lambda number: refused(http, server.url(f"/{number}")), range(50)))
        took = time.monotonic() - started

    assert reasons == {"jwks_timeout"}
    assert took < 3 * SHORT + 1


def test_production_rules_never_touch_the_loopback() -> None:
    """C01: every spelling, by literal or by resolution, and nobody connects."""
    http = JwksHttp(STRICT, deadline=2)
    hosts = ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0", "localhost", "[::1]"]
    hosts += ["[::ffff:7f00:1]", "[::]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "LOCALHOST", "localhost."]
    allowed_reasons = {"jwks_blocked_address", "jwks_url_unclear_host", "jwks_url_not_https"}

    with answering(response()) as server:
        reasons = {
            refused(http, server.url(scheme=scheme, host=host)) for scheme in ("http", "https") for host in hosts
        }

        assert reasons == allowed_reasons
        assert server.connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
        ["2606:4700::1", "::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["fe80::1%eth0"],
        ["0.0.0.0"],
    ],
)
def test_one_bad_address_refuses_the_whole_answer(answer: list[str]) -> None:
    """C04."""
    with answering(response()) as server:
        http = JwksHttp(STRICT, deadline=SHORT, resolve=lambda _host, _port: answer)

        assert refused(http, server.url(scheme="https", host="keys.example")) == "jwks_blocked_address"
        assert server.connections == 0


def test_a_name_is_looked_up_once_and_never_by_anybody_else() -> None:
    """C04: a resolver that flips with every question gets one question per fetch; 1,000 flips, no internal hit."""
    asked: list[tuple[str, int]] = []

    def flipping(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["192.168.255.254" if len(asked) % 2 else "127.0.0.1"]

    with answering(response()) as server:
        url = server.url(scheme="https", host="keys.example")
        http = JwksHttp(STRICT, deadline=SHORT, resolve=flipping)
        reasons = {refused(http, url) for _ in range(1_000)}

        assert reasons == {"jwks_blocked_address"}
        assert asked == [("keys.example", server.port)] * 1_000
        assert server.connections == 0


def test_the_connection_goes_to_the_checked_address() -> None:
    """C04: the name exists in no name service, so a second resolution anywhere would fail."""
    asked: list[str] = []

    def once(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with answering(response()) as server:
        fetched = JwksHttp(DEVELOPMENT, resolve=once).fetch(server.url(host="keys.invalid"))

        assert fetched.body == DOCUMENT
        assert asked == ["keys.invalid"]
        assert f"Host: keys.invalid:{server.port}".encode() in server.requests[0]


@pytest.mark.parametrize("answer", [[], ["not an address"]])
def test_an_answer_without_a_usable_address_is_refused(answer: list[str]) -> None:
    assert refused(JwksHttp(STRICT, resolve=lambda _host, _port: answer), "https://keys.example/") == "jwks_dns"


def test_an_unknown_name_is_refused() -> None:
    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    assert refused(JwksHttp(STRICT, resolve=unknown), "https://keys.example/") == "jwks_dns"


def test_a_listed_origin_makes_its_host_reachable() -> None:
    rules = JwksUrlRules.from_allow_list(["http://keys.internal:1"])
    with answering(response()) as server:
        listed = JwksUrlRules.from_allow_list([f"http://keys.internal:{server.port}"])

        assert JwksHttp(listed, resolve=loopback).fetch(server.url(host="keys.internal")).status == 200
        assert refused(JwksHttp(rules, resolve=loopback), server.url(host="keys.internal")) == "jwks_url_not_https"


def test_proxies_and_netrc_of_the_environment_are_ignored(
    http: JwksHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with answering(response()) as proxy, answering(response()) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")

        assert http.fetch(server.url()).status == 200
        assert (proxy.connections, server.connections) == (0, 1)
        assert b"Authorization" not in server.requests[0]


class Authority:
    """A certificate authority made for one test run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        certificate = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def server_context(self, *names: x509.GeneralName) -> ssl.SSLContext:
        """Return a TLS context for a server with these names in its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._builder(subject, key.public_key()).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        pem = self._folder / "server.pem"
        pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[HostileServer]:
    """A TLS server whose certificate is for keys.invalid and 127.0.0.1."""
    context = authority.server_context(x509.DNSName("keys.invalid"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    with HostileServer(lambda connection: connection.sendall(response()), tls=context) as server:
        yield server


@pytest.mark.parametrize("host", ["keys.invalid", "KEYS.invalid", "127.0.0.1"])
def test_https_with_a_certificate_for_the_name_is_fetched(
    authority: Authority, tls_server: HostileServer, host: str
) -> None:
    http = JwksHttp(DEVELOPMENT, ca_file=str(authority.file), resolve=loopback)

    assert http.fetch(tls_server.url(scheme="https", host=host)).body == DOCUMENT


def test_a_certificate_for_another_name_is_refused(authority: Authority, tls_server: HostileServer) -> None:
    """The address was checked, the name still has to be proved."""
    http = JwksHttp(DEVELOPMENT, ca_file=str(authority.file), resolve=loopback)

    assert refused(http, tls_server.url(scheme="https", host="other.invalid")) == "jwks_tls"
    assert tls_server.requests == []


def test_a_certificate_of_an_unknown_authority_is_refused(tls_server: HostileServer) -> None:
    http = JwksHttp(DEVELOPMENT, resolve=loopback)

    assert refused(http, tls_server.url(scheme="https", host="keys.invalid")) == "jwks_tls"
    assert tls_server.requests == []


def test_the_environment_does_not_choose_the_authorities(
    authority: Authority, tls_server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(authority.file))

    http = JwksHttp(DEVELOPMENT, resolve=loopback)

    assert refused(http, tls_server.url(scheme="https", host="keys.invalid")) == "jwks_tls"


def test_a_drip_and_a_flood_inside_tls_are_bounded_too(authority: Authority) -> None:
    """C06, C07: the budget holds for the bytes after decryption."""
    context = authority.server_context(x509.DNSName("keys.invalid"))
    http = JwksHttp(DEVELOPMENT, ca_file=str(authority.file), deadline=SHORT, resolve=loopback)

    with HostileServer(drip(b"HTTP/1.1 100 Continue\r\n\r\n"), tls=context) as server:
        started = time.monotonic()
        slow = refused(http, server.url(scheme="https", host="keys.invalid"))
        took = time.monotonic() - started
    with HostileServer(lambda c: c.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 9_000), tls=context) as server:
        flood = refused(http, server.url(scheme="https", host="keys.invalid"))

    assert (slow, flood) == ("jwks_timeout", "jwks_too_large")
    assert SHORT <= took < SHORT + 0.4


def test_the_log_line_names_the_url_and_the_public_sentence_does_not(http: JwksHttp, free_port: int) -> None:
    """C13."""
    with pytest.raises(JwksUnavailable) as failure:
        http.fetch(f"http://localhost:{free_port}/secret-path")

    assert failure.value.public == JwksUnavailable.default_public
    assert failure.value.detail.startswith(f"http://localhost:{free_port}/secret-path: ")
