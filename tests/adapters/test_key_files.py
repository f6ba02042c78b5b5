"""The server's keys: made once, kept private, published, and proof of what they signed and of nothing else."""

import json
import os
import shutil
import stat
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from authserver.adapters import key_folder
from authserver.adapters.key_files import (
    ALGORITHMS,
    KeyFiles,
    KeyFilesError,
    KeyInfo,
    SigningAlgorithm,
    open_signer,
)
from authserver.protocol.jose import encode_segment
from authserver.protocol.jwks import thumbprint
from authserver.protocol.key_life import KeyTimes

CLAIMS = {"iss": "https://as.example", "sub": "acme", "scope": "system/*.rs", "exp": 4_102_444_800, "jti": "t1"}
TYP = "at+jwt"
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
ANY_ALGORITHM = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one key of each algorithm: RS256 signed up to 1,360, ES256 since; an RSA key takes long."""
    folder = tmp_path_factory.mktemp("keys", numbered=True) / "keys"
    open_signer(folder, algorithm="RS256", now=lambda: 1_000)
    open_signer(folder, algorithm="ES256", now=lambda: 1_000)
    return folder


@pytest.fixture
def keys(originals: Path, tmp_path: Path) -> Path:
    """A copy of that directory for one test."""
    return Path(shutil.copytree(originals, tmp_path / "keys"))


def path_of(folder: Path, algorithm: SigningAlgorithm) -> Path:
    (kid,) = (key.kid for key in KeyFiles(folder).list_keys() if key.algorithm == algorithm)
    return folder / f"{kid}.pem"


def pem_of(private: Any, *, password: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    pem: bytes = private.private_bytes(PEM, PKCS8, encryption)
    return pem


def write_private(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def segment(value: object) -> str:
    return encode_segment(json.dumps(value).encode())


# Making and choosing keys


@ANY_ALGORITHM
def test_first_start_makes_one_private_key_named_by_its_thumbprint(tmp_path: Path, algorithm: SigningAlgorithm) -> None:
    """Threat F08: file 0600, directory 0700; the name is the RFC 7638 thumbprint."""
    folder = tmp_path / "new" / "keys"

    signer = open_signer(folder, algorithm=algorithm)

    (jwk,) = signer.public_jwks()["keys"]
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert found == {f"{jwk['kid']}.pem": 0o600, f"{jwk['kid']}.json": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert jwk["kid"] == thumbprint(jwk)


def test_second_start_uses_the_same_key(tmp_path: Path) -> None:
    first = open_signer(tmp_path / "keys").public_jwks()

    assert open_signer(tmp_path / "keys").public_jwks() == first


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from authserver.adapters.key_files import open_signer; print('ready', flush=True);"
        "sys.stdin.read(); print(open_signer(pathlib.Path(sys.argv[1]), algorithm='RS256').list_keys()[0].kid)"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "keys")]
    processes = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None

    kids = {process.communicate(timeout=30)[0].strip() for process in processes}

    assert [f"{kid}.pem" for kid in kids] == [path.name for path in (tmp_path / "keys").glob("*.pem")]


def test_what_a_crash_left_unfinished_is_ignored(keys: Path) -> None:
    before = KeyFiles(keys).public_jwks()

    write_private(keys / ".new-0123456789abcdef", b"-----BEGIN PRIV")

    assert open_signer(keys).public_jwks() == before


def test_other_algorithm_gets_a_key_of_its_own_that_waits_for_its_turn(tmp_path: Path) -> None:
    """X53: verifiers hold a key set without the new key for up to its max-age."""
    open_signer(tmp_path / "keys", algorithm="ES256", now=lambda: 1_000)

    found = open_signer(tmp_path / "keys", algorithm="RS256", now=lambda: 2_000)
    later = open_signer(tmp_path / "keys", algorithm="RS256", now=lambda: 2_360)

    assert [(key.algorithm, key.active) for key in found.list_keys()] == [("ES256", True), ("RS256", False)]
    assert [(key.algorithm, key.active) for key in later.list_keys()] == [("ES256", False), ("RS256", True)]


def test_listed_key_shows_since_when_it_is_published(keys: Path) -> None:
    es256, rs256 = (path_of(keys, algorithm).stem for algorithm in ALGORITHMS)

    assert KeyFiles(keys).list_keys() == (
        KeyInfo(kid=rs256, algorithm="RS256", created_at=1_000, active=False),
        KeyInfo(kid=es256, algorithm="ES256", created_at=1_000, active=True),
    )


@pytest.mark.parametrize("algorithm", ["HS256", "none", "ES384", ""])
def test_unknown_algorithm_is_refused(tmp_path: Path, algorithm: Any) -> None:
    with pytest.raises(KeyFilesError, match="use ES256 or RS256"):
        open_signer(tmp_path / "keys", algorithm=algorithm)

    assert not (tmp_path / "keys").exists()


# Refusing key files


def refusal(keys: Path) -> str:
    """Return the refusal, which loading, starting and adding a key must share."""
    with pytest.raises(KeyFilesError) as by_loading:
        KeyFiles(keys)
    with pytest.raises(KeyFilesError) as by_starting:
        open_signer(keys)
    assert str(by_loading.value) == str(by_starting.value)
    return str(by_loading.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o601, 0o644, 0o660])
def test_key_file_open_to_others_is_refused(keys: Path, mode: int) -> None:
    """Threat F08; also for a key that does not sign."""
    path = path_of(keys, "RS256")
    path.chmod(mode)

    assert f"{path} is open to others (mode {mode:o})" in refusal(keys)
    assert f"chmod 600 {path}" in refusal(keys)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o720, 0o702, 0o701, 0o755])
def test_directory_open_to_others_is_refused(keys: Path, mode: int) -> None:
    """Threat F08: who can write the directory can plant a key."""
    keys.chmod(mode)

    assert f"chmod 700 {keys}" in refusal(keys)
    with pytest.raises(KeyFilesError, match="open to others"):
        announce(keys)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("which", ["file", "directory"])
def test_key_of_another_user_is_refused(keys: Path, which: str) -> None:
    """Threat F08."""
    path = keys if which == "directory" else path_of(keys, "RS256")
    os.chown(path, 65_534, 65_534)

    assert f"{path} belongs to another user" in refusal(keys)


def test_key_under_another_name_is_refused(keys: Path) -> None:
    path = path_of(keys, "ES256")
    path.rename(keys / "signing.pem")

    assert f"rename it to {path.name}" in refusal(keys)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_file_that_is_no_key_is_refused(keys: Path, content: bytes) -> None:
    write_private(keys / "odd.pem", content)

    assert f"{keys}/odd.pem is" in refusal(keys)


def test_public_or_encrypted_key_is_refused(keys: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    for content in (public, pem_of(private, password=b"hunter2")):
        write_private(keys / "odd.pem", content)
        assert "is no unencrypted PKCS #8 private key" in refusal(keys)


def test_unsupported_key_is_refused(keys: Path) -> None:
    for private in (
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65_537, 1024),
    ):
        write_private(keys / "odd.pem", pem_of(private))
        assert "keys are EC P-256 or RSA of at least 2048 bits" in refusal(keys)


def test_refusal_quotes_no_key(keys: Path) -> None:
    """Threat F08: a message goes to the log."""
    path = path_of(keys, "ES256")
    body = path.read_text().splitlines()[1]
    path.rename(keys / "odd.pem")

    assert body not in refusal(keys)


def announce(folder: Path) -> None:
    key_folder.announce(folder, algorithm="ES256", times=KeyTimes(), now=1_000)


def test_missing_directory_is_an_error_for_reading_and_adding(tmp_path: Path) -> None:
    for use in (KeyFiles, announce):
        with pytest.raises(KeyFilesError, match="No such file or directory"):
            use(tmp_path / "missing")


def test_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(KeyFilesError, match=str(tmp_path / "file")):
        open_signer(tmp_path / "file" / "keys")


# Publishing


@ANY_ALGORITHM
def test_published_keys_are_public(keys: Path, algorithm: SigningAlgorithm) -> None:
    """Threat F08: no private member (RFC 7518 sections 6.2.2 and 6.3.2) is in the key set."""
    members = {"ES256": {"kty", "crv", "x", "y"}, "RS256": {"kty", "n", "e"}}

    published = signer_of(keys, algorithm).public_jwks()

    common = {"kid", "use", "alg"}
    assert [set(jwk) for jwk in published["keys"]] == [members[name] | common for name in ("RS256", "ES256")]
    assert [(jwk["alg"], jwk["use"]) for jwk in published["keys"]] == [("RS256", "sig"), ("ES256", "sig")]


def test_key_set_is_no_callers_to_change(keys: Path) -> None:
    signer = open_signer(keys)
    before = json.dumps(signer.public_jwks())

    signer.public_jwks()["keys"][0]["kid"] = "other"
    signer.public_jwks()["keys"].clear()

    assert json.dumps(signer.public_jwks()) == before


# Signing


@ANY_ALGORITHM
def test_signed_token_is_verified_by_two_other_libraries(keys: Path, algorithm: SigningAlgorithm) -> None:
    """PyJWT and joserfc read the token and the key set as we do; 20 times, since ECDSA's R and S vary in length."""
    signer, other = signer_of(keys, algorithm), signer_of(keys, algorithm)  # as in another process
    document = signer.public_jwks()
    pyjwt_keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(dict(document)).keys}
    joserfc_keys = KeySet.import_key_set(json.loads(json.dumps(document)))

    for number in range(20):
        claims = CLAIMS | {"jti": f"é-{number}"}
        token = signer.sign(claims, typ=TYP)
        key = pyjwt_keys[jwt.get_unverified_header(token)["kid"]]

        by_joserfc = joserfc_jwt.decode(token, joserfc_keys, algorithms=[algorithm])
        assert jwt.decode(token, key, algorithms=[algorithm]) == claims
        assert (by_joserfc.claims, signer.verify(token, typ=TYP), other.verify(token, typ=TYP)) == (claims,) * 3


@ANY_ALGORITHM
def test_header_has_alg_kid_and_typ(keys: Path, algorithm: SigningAlgorithm) -> None:
    kid = path_of(keys, algorithm).stem
    signer = signer_of(keys, algorithm)

    headers = [jwt.get_unverified_header(signer.sign({}, typ=typ)) for typ in ("at+jwt", "JWT", "at+jwt")]

    assert headers == [{"alg": algorithm, "kid": kid, "typ": typ} for typ in ("at+jwt", "JWT", "at+jwt")]


@ANY_ALGORITHM
def test_token_that_another_library_signed_with_our_key_is_verified(keys: Path, algorithm: SigningAlgorithm) -> None:
    """The order of header members is the signer's choice (RFC 7515 section 4)."""
    token = by_pyjwt(keys, algorithm, headers={"typ": TYP})

    assert open_signer(keys).verify(token, typ=TYP) == CLAIMS


def signer_of(folder: Path, algorithm: SigningAlgorithm) -> KeyFiles:
    """Return the signer at a moment at which the key of this algorithm signs."""
    return KeyFiles(folder, now=lambda: 1_360 if algorithm == "ES256" else 1_359)


def by_pyjwt(folder: Path, algorithm: SigningAlgorithm, *, headers: Mapping[str, Any]) -> str:
    path = path_of(folder, algorithm)
    private: Any = serialization.load_pem_private_key(path.read_bytes(), None)
    return jwt.encode(CLAIMS, private, algorithm=algorithm, headers={"kid": path.stem, **headers})


# Verifying


@pytest.mark.parametrize(
    "headers",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "AT+JWT"},
        {"typ": TYP, "crit": ["exp"]},
        {"typ": TYP, "b64": False},
        {"typ": TYP, "jku": "https://evil.example/jwks"},
        {"typ": TYP, "cty": "JWT"},
        {"typ": TYP, "kid": "other"},
        {"typ": TYP, "x": 1},
    ],
)
def test_header_that_we_do_not_write_is_refused_though_the_signature_is_right(
    keys: Path, headers: dict[str, Any]
) -> None:
    assert open_signer(keys).verify(by_pyjwt(keys, "ES256", headers=headers), typ=TYP) is None


def test_header_that_repeats_a_member_is_refused_though_the_signature_is_right(keys: Path) -> None:
    """RFC 7515 section 5.2: member names are unique; two readers must not see two headers."""
    path = path_of(keys, "ES256")
    private: Any = serialization.load_pem_private_key(path.read_bytes(), None)
    es256 = jwt.get_algorithm_by_name("ES256")
    members = [f'"alg":"ES256","kid":"{path.stem}"', f'"typ":"{TYP}"']

    answers = []
    for header in (members, [*members, members[1]]):
        signing_input = f"{encode_segment(('{' + ','.join(header) + '}').encode())}.{segment(CLAIMS)}"
        signature = encode_segment(es256.sign(signing_input.encode(), private))
        answers.append(open_signer(keys).verify(f"{signing_input}.{signature}", typ=TYP))

    assert answers == [CLAIMS, None]


def test_token_of_another_typ_is_refused(keys: Path) -> None:
    """A token of one kind is not taken for another (RFC 8725 section 3.11)."""
    signer = open_signer(keys)
    token = signer.sign(CLAIMS, typ="JWT")

    assert (signer.verify(token, typ=TYP), signer.verify(token, typ="JWT")) == (None, CLAIMS)


def test_token_of_another_server_is_refused(keys: Path, tmp_path: Path) -> None:
    token = open_signer(tmp_path / "other").sign(CLAIMS, typ=TYP)

    assert open_signer(keys).verify(token, typ=TYP) is None


def test_header_that_names_another_of_our_keys_is_refused(keys: Path) -> None:
    signer = open_signer(keys)
    _, claims, signature = signer.sign(CLAIMS, typ=TYP).split(".")
    header = segment({"alg": "RS256", "kid": path_of(keys, "RS256").stem, "typ": TYP})

    assert signer.verify(f"{header}.{claims}.{signature}", typ=TYP) is None


def test_any_changed_character_is_refused(keys: Path) -> None:
    signer = open_signer(keys)
    token = signer.sign(CLAIMS, typ=TYP)

    accepted = [
        position
        for position, character in enumerate(token)
        if signer.verify(token[:position] + ("A" if character != "A" else "B") + token[position + 1 :], typ=TYP)
    ]

    assert accepted == []


def hostile_tokens(token: str, kid: str) -> dict[str, str]:
    header, claims, signature = token.split(".")
    raw = urlsafe_b64decode(signature + "==")
    return {
        "empty": "",
        "two segments": f"{header}.{claims}",
        "four segments": f"{token}.{signature}",
        "no signature": f"{header}.{claims}.",
        "alg none": f"{segment({'alg': 'none', 'kid': kid, 'typ': TYP})}.{claims}.",
        "alg HS256": f"{segment({'alg': 'HS256', 'kid': kid, 'typ': TYP})}.{claims}.{signature}",
        "alg of another key type": f"{segment({'alg': 'RS256', 'kid': kid, 'typ': TYP})}.{claims}.{signature}",
        "kid is a list": f"{segment({'alg': 'ES256', 'kid': [kid], 'typ': TYP})}.{claims}.{signature}",
        "kid is null": f"{segment({'alg': 'ES256', 'kid': None, 'typ': TYP})}.{claims}.{signature}",
        "header is a list": f"{segment([])}.{claims}.{signature}",
        "header is deep": f"{encode_segment(b'[' * 6_000)}.{claims}.{signature}",
        "padding": f"{header}.{claims}.{signature}==",
        "white space": f" {token}",
        "line end": f"{token}\n",
        "standard alphabet": f"{header}.{claims}.{'+/' * 43}",
        "second spelling": f"{header}.{claims}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}",
        "all-zero signature": f"{header}.{claims}.{encode_segment(bytes(64))}",
        "short signature": f"{header}.{claims}.{encode_segment(raw[:-1])}",
        "not ASCII": f"{header}.{claims}.é",
        "lone surrogate": f"{header}.{claims}.\ud800",
        "NUL": f"{header}.{claims}.{signature}\x00",
        "too long": f"{header}.{'A' * 20_000}.{signature}",
    }


def test_hostile_token_is_refused_without_an_error(keys: Path) -> None:
    signer = open_signer(keys)
    token = signer.sign(CLAIMS, typ=TYP)

    accepted = [
        name
        for name, hostile in hostile_tokens(token, path_of(keys, "ES256").stem).items()
        if signer.verify(hostile, typ=TYP) is not None
    ]

    assert (accepted, signer.verify(token, typ=TYP)) == ([], CLAIMS)


def test_claims_that_are_no_object_are_refused(keys: Path) -> None:
    private: Any = serialization.load_pem_private_key(path_of(keys, "ES256").read_bytes(), None)
    headers = {"kid": path_of(keys, "ES256").stem, "typ": TYP}
    signer = open_signer(keys)

    answers = [
        signer.verify(jwt.api_jws.encode(payload, private, algorithm="ES256", headers=headers), typ=TYP)
        for payload in (b"[]", b"", b"null", b'"x"', b'{"a":1,"a":2}', b"\xff", b"[" * 5_000, b'{"a":1}')
    ]

    assert answers == [None] * 7 + [{"a": 1}]


@pytest.fixture(scope="module")
def signer(originals: Path) -> KeyFiles:
    return KeyFiles(originals)


@given(st.text() | st.lists(st.text(alphabet="AQeyJ.-_=0{}"), max_size=5).map(".".join))
def test_verify_never_raises(signer: KeyFiles, text: str) -> None:
    assert signer.verify(text, typ=TYP) is None
