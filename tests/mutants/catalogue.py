"""The mutants: each deletes or weakens one security check, and names the threats that the check is there for.

`old` occurs exactly once in the module, which tests/mutants/test_catalogue.py checks; `make mutants` runs them all.
"""

from dataclasses import dataclass

_ASSERTIONS = "tests/services/test_hostile_assertions.py tests/protocol/test_assertion.py"
_AUTHENTICATION = f"tests/services/test_client_authentication.py {_ASSERTIONS}"
_KEYS = "tests/protocol/test_jwks.py tests/protocol/test_key_policy.py"
_SCOPES = "tests/protocol/test_scopes.py"
_FORMS = "tests/web/test_hostile_requests.py tests/web/test_token.py tests/protocol/test_token_request.py"
_URLS = "tests/protocol/test_jwks_url.py tests/protocol/test_public_addresses.py"
_FETCH = "tests/adapters/test_jwks_http.py"
_TOKENS = "tests/services/test_token_introspection.py tests/web/test_introspect.py tests/protocol/test_access_token.py"
_CALLERS = "tests/services/test_authorization.py tests/web/test_resources.py tests/web/test_introspect.py"
_FHIR = "tests/fhir/test_bearer.py tests/fhir/test_access.py tests/fhir/test_app.py tests/fhir/test_refusals.py"
_CLIENTS = "tests/protocol/test_client.py"
_ISSUANCE = "tests/services/test_token_issuance.py"
_STORES = "tests/adapters/test_stores.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One check less: `old` becomes `new` in `module`, one of `tests` must notice; `threats` are what it lets in."""

    name: str
    threats: str
    module: str
    old: str
    new: str
    tests: str


def _of(module: str, tests: str, *rows: tuple[str, str, str, str]) -> list[Mutant]:
    return [Mutant(name, threats, f"authserver/{module}", old, new, tests) for name, threats, old, new in rows]


MUTANTS: list[Mutant] = [
    *_of(
        "protocol/jose.py",
        f"{_ASSERTIONS} tests/protocol/test_jose.py",
        ("no bound on the token", "A14", "if len(token) > MAX_TOKEN_LENGTH:", "if False:"),
        ("any base64 spelling", "A16", "if encode_segment(data) != segment:", "if False:"),
        ("any algorithm that we know", "A01", "or algorithm not in algorithms or", "or"),
        ("header members are not looked at", "A10 A11 A13 A17", "    if forbidden:\n", "    if False:\n"),
        *(
            (f"{name} in the header is ignored", threats, f'"{name}", ', "")
            for name, threats in (("jwk", "A17"), ("x5u", "A17"), ("x5c", "A17"), ("crit", "A10"), ("b64", "A11"))
        ),
        ("zip in the header is ignored", "A13", '"zip", "cty"', '"cty"'),
        ("cty in the header is ignored", "A13", '"zip", "cty"', '"zip"'),
        (
            "a wrong signature is good",
            "A23",
            "    except InvalidSignature as error:\n",
            "    except ZeroDivisionError as error:\n",
        ),
        ("signatures of any length", "A04", "if len(signature) != 2 * size:", "if False:"),
        ("claims need not be an object", "B01", "if not isinstance(value, dict):", "if False:"),
        ("a salt of any length", "A05", "salt_length=digest.digest_size", "salt_length=padding.PSS.AUTO"),
    ),
    *_of(
        "protocol/strict_json.py",
        f"tests/protocol/test_strict_json.py {_ASSERTIONS}",
        ("members twice", "A12", "if len(members) != len(pairs):", "if False:"),
        ("long numbers", "A15", "if len(digits) > _MAX_DIGITS:", "if False:"),
        ("infinite numbers", "A15", "if not math.isfinite(number):", "if False:"),
        ("any depth", "A15", "    if left == 0:\n", "    if False:\n"),
        ("lone surrogates", "A15", r'if "\\u" in text:', "if False:"),
        ("NaN", "A15", "parse_constant=_constant", "parse_constant=float"),
    ),
    *_of(
        "protocol/assertion.py",
        _ASSERTIONS,
        (
            "sub may be anything",
            "B01 B02",
            "if not isinstance(subject, str) or RESOURCE_ID.fullmatch(subject) is None:",
            "if not isinstance(subject, str):",
        ),
        ("typ is not looked at", "A22", '    "typ": _check_typ,\n', ""),
        ("an algorithm that is not registered", "A05", '    "alg_registered": _check_registered_algorithm,\n', ""),
        ("jku is not looked at", "A17", '    "jku": _check_jku,\n', ""),
        (
            "kid may be missing",
            "A18",
            "if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:",
            "if kid is None:",
        ),
        ("the signature is not checked", "A23", "    check_signature(case.assertion.jws, key.key)\n", ""),
        ("iss is not looked at", "B02 A23", '    "iss": _check_issuer,\n', ""),
        ("aud is not looked at", "B03 B04", '    "aud": _check_audience,\n', ""),
        (
            "any of several audiences",
            "B03",
            "if isinstance(audience, list) and len(audience) == 1:",
            "if isinstance(audience, list) and audience:",
        ),
        (
            "the issuer's type with the token URL",
            "B04",
            "case.client.issuer_audience_only or typed",
            "case.client.issuer_audience_only",
        ),
        ("issuer only is not kept", "B04", "case.client.issuer_audience_only or typed", "typed"),
        (
            "exp may be missing",
            "B01",
            '    if expires is None:\n        raise InvalidClient(detail="exp is missing", reason="exp_missing")\n',
            "    if expires is None:\n        return\n",
        ),
        ("expired is good", "B06", "if expires <= now - EXPIRED_LEEWAY:", "if False:"),
        ("expired a second more", "B06", "if expires <= now - EXPIRED_LEEWAY:", "if expires < now - EXPIRED_LEEWAY:"),
        ("exp in ten years", "B05", "if expires > now + MAX_LIFETIME + FUTURE_LEEWAY:", "if False:"),
        (
            "exp a second further",
            "B05",
            "if expires > now + MAX_LIFETIME + FUTURE_LEEWAY:",
            "if expires > now + MAX_LIFETIME + FUTURE_LEEWAY + 1:",
        ),
        ("iat in the future", "B06", '    "iat": _check_issued,\n', ""),
        ("nbf in the future", "B06", '    "nbf": _check_not_before,\n', ""),
        ("made for years", "B05", '    "lifetime": _check_lifetime,\n', ""),
        ("jti may be missing", "B01", '    "jti": _check_jti,\n', ""),
        ("jti of any length", "A14", "<= MAX_JTI_LENGTH:", "<= 10**9:"),
        (
            "times may be text or true",
            "B01",
            "if type(value) not in (int, float) or value < 0:",
            "if not isinstance(value, (int, float)):",
        ),
        ("the jti is forgotten early", "B09", " + EXPIRED_LEEWAY + FUTURE_LEEWAY\n    return", "\n    return"),
    ),
    *_of(
        "services/client_authentication.py",
        _AUTHENTICATION,
        (
            "a jti is good twice",
            "B07",
            "        if not claimed:\n",
            "        if False:\n",
        ),
        (
            "the form's client_id may be another's",
            "B02",
            "if request.client_id is not None and request.client_id != unverified.client_id:",
            "if False:",
        ),
        ("an inactive client", "E10", "    if not client.active:\n", "    if False:\n"),
        ("a client without assertions", "E04", "if JWT_BEARER not in client.assertion_types:", "if False:"),
    ),
    *_of(
        "protocol/jwks.py",
        f"{_KEYS} {_ASSERTIONS}",
        ("symmetric keys", "A03", '    if kty == "oct":\n', '    if kty == "nothing":\n'),
        ("private keys", "A20", "if PRIVATE_MEMBERS & jwk.keys():", "if False:"),
        ("keys for encryption", "A06", 'if jwk.get("use", "sig") != "sig":', "if False:"),
        ("keys for other operations", "A06", 'or "verify" not in operations:', "or False:"),
        (
            "a key for any algorithm",
            "A05",
            "if key.algorithm not in (None, wanted.name) or key.curve != wanted.curve:",
            "if key.curve != wanted.curve:",
        ),
        (
            "a key of any curve",
            "A05",
            "if key.algorithm not in (None, wanted.name) or key.curve != wanted.curve:",
            "if key.algorithm not in (None, wanted.name):",
        ),
        ("the first of several keys", "A19", "if len(named) + len(refused) > 1:", "if len(refused) > 1:"),
        ("a refused key beside a good one", "A19 A21", "if len(named) + len(refused) > 1:", "if len(named) > 1:"),
        (
            "the key's alg is not looked at",
            "A06",
            "if known is None or known.kty != kty or known.curve != curve:",
            "if known is None:",
        ),
        ("coordinates of any length", "A05", "if len(x) != size or len(y) != size:", "if False:"),
        ("thousands of keys", "C07", "if len(keys) > MAX_KEYS:", "if False:"),
        ("weak RSA keys", "A07", "    if weakness is not None:\n", "    if False:\n"),
        ("points of small order", "A05", "    if has_small_order(octets):\n", "    if False:\n"),
        ("keys that everybody has", "A08", "if origin is not None and not rules.publicly_known:", "if False:"),
    ),
    *_of(
        "protocol/key_policy.py",
        _KEYS,
        ("RSA of any size", "A07 A09", "if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:", "if False:"),
        ("any exponent", "A07", "    if not _exponent_is_good(e, rules):\n", "    if False:\n"),
        ("small factors", "A07", "if math.gcd(n, _SMALL_PRODUCT) != 1:", "if False:"),
        ("ROCA", "A07", "if all(n % prime in residues for prime, residues in _ROCA_RESIDUES):", "if False:"),
        ("close primes", "A07", "    if _has_close_primes(n):\n", "    if False:\n"),
        ("even exponents", "A07", "and e % 2 == 1 and", "and"),
    ),
    *_of(
        "protocol/token_request.py",
        _FORMS,
        ("repeated parameters", "E02", "    if len(single) < len(sent):\n", "    if False:\n"),
        ("other grants", "E05", 'if form["grant_type"] != CLIENT_CREDENTIALS:', "if False:"),
        ("a secret beside the assertion", "E04", 'if form.get("client_secret"):', "if False:"),
        ("any assertion type", "E04", 'if form.get("client_assertion_type") != JWT_BEARER:', "if False:"),
    ),
    *_of(
        "web/forms.py",
        _FORMS,
        ("any media type", "E03", "media_type.lower() == FORM and", ""),
        ("any charset", "E03", 'and parameters.get("charset", "utf-8").lower() == "utf-8"', ""),
        (
            "compressed bodies",
            "E03",
            'if (request.header("content-encoding") or "identity") != "identity":',
            "if False:",
        ),
        (
            "parameters in the query",
            "E01",
            "if request.query and OAUTH_PARAMETERS & request.query_names():",
            "if False:",
        ),
        ("any number of fields", "E12", "if len(fields) > MAX_FIELDS:", "if False:"),
    ),
    *_of(
        "web/token.py",
        _FORMS,
        ("Basic beside an assertion", "E04", "    _refuse_header(request, pairs)\n", ""),
    ),
    *_of(
        "protocol/scopes.py",
        _SCOPES,
        ("scopes of any length", "E08", "if len(text) > MAX_SCOPE_LENGTH:", "if False:"),
        ("any number of filters", "E08", "if filtered > MAX_FILTERED_SCOPES:", "if False:"),
        ("any character", "E08", " if _SCOPE_TOKEN.fullmatch(text) else None", ""),
        ("no letters", "E08", 'if match is None or match["v2"] == "":', "if match is None:"),
        ("other contexts are granted", "E08", 'if asked.context != "system" or held.context != "system":', "if False:"),
        (
            "filters of one side are lost",
            "E09",
            "parameters = asked.parameters | held.parameters",
            "parameters = asked.parameters",
        ),
        (
            "letters beyond the registration",
            "E09",
            "for letter in asked.interactions if letter in held.interactions)",
            "for letter in asked.interactions)",
        ),
        ("the wildcard covers Client", "E09", 'if one == "*" and other not in ADMINISTRATIVE_TYPES:', 'if one == "*":'),
        (
            "the wildcard becomes every type",
            "E09",
            "for resource_type in wildcard_types - ADMINISTRATIVE_TYPES:",
            "for resource_type in wildcard_types | ADMINISTRATIVE_TYPES:",
        ),
        (
            "names that are not registered",
            "E08",
            "requested.names & registered.names & GRANTABLE_NAMES",
            "requested.names & GRANTABLE_NAMES",
        ),
        (
            "other contexts open resources",
            "H18",
            '        if scope.context == "system"\n        and letter',
            "        if letter",
        ),
        ("a letter opens the others", "H18", "        and letter in scope.interactions\n", ""),
    ),
    *_of(
        "protocol/scope_filter.py",
        f"{_SCOPES} {_CLIENTS}",
        (
            "parameters that R4 does not define",
            "E08",
            "if not search_parameters.defined(resource_type, name):",
            "if False:",
        ),
        (
            "filters without value, modifiers",
            "E08",
            "if not equals or not value or _NAME.fullmatch(name) is None:",
            "if not equals:",
        ),
        ("broken percent-encoding", "E08", 'if re.search(r"%(?![0-9A-Fa-f]{2})", value):', "if False:"),
    ),
    *_of(
        "services/token_issuance.py",
        _ISSUANCE,
        (
            "any registered client may have tokens",
            "E05",
            "if CLIENT_CREDENTIALS not in client.grant_types:",
            "if False:",
        ),
        ("a token without scope", "E08", "        if not granted:\n", "        if False:\n"),
        ("strict mode is not kept", "E09", "if client.strict_scope and not", "if False and not"),
        ("any resource", "F05", "if not set(request.resources) <= set(registered):", "if False:"),
    ),
    *_of(
        "protocol/access_token.py",
        _TOKENS,
        ("tokens never expire", "F06", "and type(expires) is int and now < expires", "and type(expires) is int"),
        ("tokens of any issuer", "F04", 'token.get("iss") == issuer and ', ""),
        ("tokens of a former registration", "E10 F06", " and isinstance(jti, str) and jti.startswith(prefix)", ""),
    ),
    *_of(
        "services/token_introspection.py",
        _TOKENS,
        ("tokens of an inactive client", "F06", "if client is None or not client.active or", "if client is None or"),
        (
            "revoked tokens",
            "F06",
            'if self.revocations.is_revoked(claims["jti"], expires_at=claims["exp"]):',
            "if False:",
        ),
        ("anybody revokes", "F02", "active.client.id != owner.id", "False"),
    ),
    *_of(
        "services/authorization.py",
        _CALLERS,
        ("any secret", "G01", "if client is None or not fits or", "if client is None or"),
        ("an inactive caller", "E10", "or not client.active or BASIC", "or BASIC"),
        (
            "Basic for clients that have not asked for it",
            "E04",
            "or not client.active or BASIC not in client.grant_types:",
            "or not client.active:",
        ),
        (
            "tokens for another server",
            "F05",
            "if active is None or not access_token.audience_of(active.claims) & self.audiences:",
            "if active is None:",
        ),
        (
            "scopes do not limit callers",
            "G01",
            "if caller.scopes is not None and not scopes.permitted(",
            "if False and not scopes.permitted(",
        ),
        ("policies do not limit callers", "G07", "if not self._decide(caller, request).allowed:", "if False:"),
    ),
    *_of(
        "web/callers.py",
        _CALLERS,
        ("several credentials", "F09", 'if "," in value:', "if False:"),
        ("tokens in the query", "F09", 'if "access_token" in request.query_names():', "if False:"),
    ),
    *_of(
        "protocol/canonical_path.py",
        "tests/protocol/test_canonical_path.py",
        ("escapes in the path", "G05", 'if "%" in _path_of(raw_target or ""):', "if False:"),
        ("odd characters in the path", "G05", 'or character in "%;\\\\"', "or False"),
        ("empty and dotted segments", "G05", 'if any(segment in ("", ".", "..") for segment in inner) or', "if"),
    ),
    *_of(
        "protocol/jwks_url.py",
        _URLS,
        ("plain http", "C05", "    _refuse_plain_http(found, rules)\n", ""),
        ("any port", "C05", "    _refuse_port(found, rules)\n", ""),
        ("private addresses in the URL", "C01", "    _refuse_address(found, rules)\n", ""),
        ("user names in the URL", "C05", 'if "@" in parts["authority"]:', "if False:"),
        ("fragments in the URL", "C05", 'if parts["fragment"] is not None:', "if False:"),
        ("odd characters in the URL", "C05", "if _CHARACTERS.fullmatch(url) is None:", "if False:"),
        ("zones in an address", "C01", "if address.scope_id is not None:", "if False:"),
        (
            "private addresses without a list",
            "C01",
            "return found is AddressKind.PRIVATE and url.listed",
            "return found is AddressKind.PRIVATE",
        ),
        ("localhost is a name like another", "C01", "_LOCALHOST if is_localhost else url.address", "url.address"),
    ),
    *_of(
        "protocol/public_addresses.py",
        _URLS,
        ("IPv4 inside IPv6", "C01", "return mapped or address", "return address"),
        ("the own table of special networks", "C02", "    if contains(_SPECIAL, address):\n", "    if False:\n"),
        (
            "IPv6 outside the public range",
            "C02",
            "if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:",
            "if False:",
        ),
    ),
    *_of(
        "adapters/jwks_http.py",
        _FETCH,
        (
            "addresses that names resolve to",
            "C01 C04",
            "if not may_connect(checked, address, rules=self._rules):",
            "if False:",
        ),
        ("redirects", "C03", "if 300 <= status < 400:", "if False:"),
        ("any status", "C12", "        if status != 200:\n", "        if False:\n"),
        (
            "compressed key sets",
            "C07",
            'if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":',
            "if False:",
        ),
        ("documents of any size", "C07", "if len(body) > self._max_bytes:", "if False:"),
        ("any media type of a key set", "C05", "if _JSON_MEDIA_TYPE.fullmatch(media_type) is None:", "if False:"),
    ),
    *_of(
        "adapters/sql/jti_key.py",
        _STORES,
        (
            "jtis are not kept apart by client",
            "B11",
            'len(client).to_bytes(8, "big") + client + identifier',
            "client + identifier",
        ),
    ),
    *_of(
        "adapters/sql/claims.py",
        f"{_STORES} tests/adapters/test_claims.py tests/adapters/test_failover.py",
        ("every claim succeeds on SQLite", "B07 B10", ".rowcount == 1:", ".rowcount != 7:"),
        (
            "every claim succeeds on PostgreSQL",
            "B07 B10",
            "new = {bytes(key) for (key,) in inserted.fetchall()}",
            "new = {key for key, _ in rows}",
        ),
        ("two of one group both succeed", "B08", "    written.new.discard(claim.key)", "    pass"),
        ("a clock set back makes claims new", "B14", "if claim.until < written.purged:", "if False:"),
        ("a failover makes claims new", "B10", "if claim.until < written.failed_over:", "if False:"),
    ),
    *_of(
        "adapters/sql/changes.py",
        "tests/adapters/test_changes.py tests/adapters/test_stores.py",
        (
            "what is known of the registry never grows old",
            "X46 X50",
            "or self._monotonic() - seen[1] > self._at_hand_seconds",
            "",
        ),
        ("own changes go unnoticed", "X46 X50", "seen[1] < self._changed_at or ", ""),
        ("what was read of the file never grows old", "X46 X50", "if asked_at < self._good_until:", "if self._seen:"),
        (
            "own changes of the file go unnoticed",
            "X46 X50",
            '        with self._lock:\n            self._good_until = float("-inf")',
            "        pass",
        ),
    ),
    *_of(
        "services/at_hand.py",
        "tests/services/test_at_hand.py tests/web/test_at_hand.py",
        (
            "kept clients never grow old",
            "X46 X50",
            "if found is None or found[0] < present.required:",
            "if found is None:",
        ),
        (
            "kept revocations never grow old",
            "F06",
            "        if self._number < number:\n            raise NotAtHand\n",
            "",
        ),
        ("kept revocations forget", "B14 F06", "expires_at < self._forgotten or ", ""),
        ("a wrong secret is right", "F03", "if not self.remembers(secret, secret_hash):", "if False:"),
    ),
    *_of(
        "services/guess_limit.py",
        _TOKENS,
        ("guesses without end", "F03", "if count > self._limit:", "if False:"),
    ),
    *_of(
        "services/key_alarm.py",
        "tests/services/test_key_alarm.py",
        ("secrets in key sets go unnoticed", "A03 A20", "        if found.secrets:\n", "        if False:\n"),
    ),
    *_of(
        "web/token.py",
        "tests/web/test_at_hand.py",
        ("a change meanwhile goes unnoticed", "X50", "and outcome.change > number:", "and False:"),
    ),
    *_of(
        "web/introspect.py",
        "tests/web/test_at_hand.py",
        ("an answer outlives the token", "F05", " and now < said[2].good_until:", ":"),
        ("an answer outlives a change", "X46 X50", "said[0] == number and ", ""),
        ("an answer outlives our keys", "X53", "said[1] is key_set and ", ""),
    ),
    *_of(
        "cli/http_protocol.py",
        "tests/cli/test_http_protocol.py",
        ("several hosts", "E12", 'if [name for name, _ in self.headers].count(b"host") > 1:', "if False:"),
        ("a head without end", "E12", "self._head_size() > HEADER_BYTES:", "self._head_size() < 0:"),
        ("direct bodies without end", "E12", "if len(self._body) > BODY_BYTES:", "if False:"),
        ("direct bodies may come slowly", "E12", "self.loop.time() + BODY_SECONDS", "self.loop.time() + 20"),
        (
            "pipelined requests are mixed",
            "E12",
            "        if self._exchange is not None:\n            self._deaf",
            "        if False:\n            self._deaf",
        ),
    ),
    *_of(
        "adapters/sql/jtis.py",
        _STORES,
        (
            "a clock set back makes tokens live",
            "B14 F06",
            'purge_mark.c.moment > bindparam("expires_at")',
            'purge_mark.c.moment > 10**12 + bindparam("expires_at")',
        ),
    ),
    *_of(
        "protocol/client.py",
        _CLIENTS,
        ("jwks and jwks_uri together", "C14", "if jwks is not None and uri is not None:", "if False:"),
        ("tokens for days", "E11", "and not 1 <= grant.access_token_expiration <= limit:", "and False:"),
        (
            "types that do not exist",
            "E08",
            "            if scopes.unknown_types(read[-1]):\n",
            "            if False:\n",
        ),
        (
            "two keys with one kid",
            "A19",
            "if any(times > 1 for (kid, _), times in named.items() if kid is not None):",
            "if False:",
        ),
        ("an id that is not the path's", "G02", 'if read.id not in (None, "", client_id):', "if False:"),
        (
            "refused keys are registered",
            "A07 A20",
            "for refused in () if self._stored else read.refused:",
            "for refused in ():",
        ),
    ),
    *_of(
        "fhir/bearer.py",
        _FHIR,
        ("another issuer's answer", "F04", '(answer.get("iss") == self._issuer, "iss"),', '(True, "iss"),'),
        (
            "a token for another server",
            "F05",
            '(isinstance(named, list) and self._audience in named, "aud"),',
            '(True, "aud"),',
        ),
        (
            "an expired answer",
            "F06",
            '(type(expires_at) is int and expires_at > now, "exp"),',
            '(type(expires_at) is int, "exp"),',
        ),
        ("active need not be true", "F02", 'if token.get("active") is not True:', 'if token.get("active") is None:'),
        (
            "no policy decision is yes",
            "G07",
            'policy_allows=isinstance(decision, Mapping) and decision.get("allowed") is True,',
            "policy_allows=True,",
        ),
        ("two Authorization headers", "F09", 'if len(authorization) > 1 or "," in authorization[0]:', "if False:"),
    ),
    *_of(
        "fhir/access.py",
        _FHIR,
        ("scopes do not limit patients' data", "H18", "            if not alternatives:\n", "            if False:\n"),
        (
            "policies do not limit patients' data",
            "G07",
            """        if not caller.policy_allows:
            return Deny(Forbidden())
        if not request.served:
            return Deny(MethodNotAllowed(request.allow) if""",
            """        if not request.served:
            return Deny(MethodNotAllowed(request.allow) if""",
        ),
        ("a filter that is not understood opens", "H18", "if criteria is not None))", "))"),
    ),
    *_of(
        "fhir/access.py",
        "tests/fhir/routes/test_export.py",
        (
            "policies do not limit exports",
            "H10",
            """        if not caller.policy_allows:
            return Deny(Forbidden())
        if not request.served:
            return Deny(MethodNotAllowed(request.allow))""",
            """        if not request.served:
            return Deny(MethodNotAllowed(request.allow))""",
        ),
        (
            "scopes do not limit exports",
            "H10",
            "                    if not self.alternatives(caller.scopes, resource_type, letter):\n",
            "                    if False:\n",
        ),
    ),
    *_of(
        "cli/asgi.py",
        "tests/cli/test_asgi.py tests/cli/test_http_protocol.py",
        ("bodies of any length", "E12", "return declared.isdecimal() and int(declared) > BODY_BYTES", "return False"),
        ("chunks without end", "E12", " and len(body) <= BODY_BYTES:", ":"),
        (
            "bodies may come slowly",
            "E12",
            "return await asyncio.wait_for(_collected(receive), self._body_seconds)",
            "return await asyncio.wait_for(_collected(receive), 20)",
        ),
        (
            "methods in any case",
            "G06",
            'scope["method"] if scope["method"].isupper() else "UNKNOWN"',
            'scope["method"].upper()',
        ),
        ("underscores in header names", "E04", 'if "_" in name or name ==', "if name =="),
        ("the last of repeated headers", "F09", 'f"{found[key]},{value}" if key in found else value', "value"),
    ),
    *_of(
        "services/readiness.py",
        "tests/services/test_readiness.py",
        ("a server that drains is ready", "fault 17", "if self._drains:", "if False:"),
        ("the clock may be anywhere", "B14", "until=now + CLOCK_BACK_SECONDS", "until=now + 10**9"),
        ("writes need not work", "fault 5", "if error.reason == _FAILED_OVER:", "if True:"),
        ("no key need sign", "fault 11", "if not any(key.active for key in signer.list_keys()):", "if False:"),
        ("every probe writes", "fault 8", "if self._ticks() >= self._finding.until:", "if True:"),
    ),
    *_of(
        "adapters/sql/safe_server.py",
        "tests/adapters/test_safe_server.py",
        ("a standby will do", "fault 8", "if state.in_recovery:", "if False:"),
        ("a server that takes no writes will do", "fault 8", "if state.read_only:", "if False:"),
        ("fsync may be off", "fault 3", "if not state.fsync:", "if False:"),
        ("pages may be torn", "fault 3", "if not state.full_page_writes:", "if False:"),
    ),
    *_of(
        "protocol/audit_chain.py",
        "tests/protocol/test_audit_chain.py",
        ("an edited record", "X55", "if link(last.hash, found.sequence, found.body) != found.hash:", "if False:"),
        ("a record that follows another", "X55", "if found.previous != last.hash:", "if False:"),
        ("a gap in the numbers", "X55", "if found.sequence != last.sequence + 1:", "if False:"),
        ("columns that say other than the record", "X55", "if found.columns != columns(found.body):", "if False:"),
        ("a truncated chain", "X55", "if head.sequence > last.sequence or later:", "if later:"),
        ("a chain shorter than its checkpoint", "X55", "if head.sequence > last.sequence or later:", "if False:"),
        (
            "a head of another record",
            "X55",
            "if (head.sequence, head.hash) != (last.sequence, last.hash):",
            "if False:",
        ),
        ("a chain written anew", "X55", "if known.get(found.sequence, found.hash) != found.hash:", "if False:"),
        ("pruned without a signature", "X55", "if head.pruned_sequence > signed.pruned_sequence:", "if False:"),
        ("no checkpoint for years", "X55", "if found.sequence > covered and", "if False and"),
    ),
    *_of(
        "protocol/audit_diff.py",
        "tests/protocol/test_audit_diff.py",
        ("unknown members shown", "G15", "if path not in _SHOWN:", "if False:"),
    ),
    *_of(
        "protocol/audit_record.py",
        "tests/protocol/test_audit_record.py",
        (
            "a replay recorded as a token",
            "X25",
            "return self.record if claimed else self._replayed()",
            "return self.record",
        ),
        ("a decision that was made anew", "X25", "if change > self.number:", "if False:"),
        ("a claimed client as the agent", "X25", "return proven and error.client_id is not None", "return True"),
    ),
    *_of(
        "services/audit_trail.py",
        "tests/services/test_audit_trail.py tests/web/test_audit_events.py",
        ("strangers without a limit", "X25", "if admitted >= self._per_minute:", "if False:"),
        (
            "a record that was not written",
            "X25",
            "except Unavailable as error:\n        # The",
            "except Unavailable as error:\n        return\n        # The",
        ),
    ),
    *_of(
        "services/audit_reading.py",
        "tests/web/test_audit_events.py",
        (
            "every tenant's records",
            "G15",
            "audit_search.parse(pairs, tenant=caller.tenant)",
            "audit_search.parse(pairs)",
        ),
        ("any tenant's record", "G15", "AuditQuery(tenant=caller.tenant, sequence", "AuditQuery(sequence"),
    ),
    *_of(
        "services/audit_verification.py",
        "tests/services/test_audit_trail.py",
        ("a foreign checkpoint", "X55", "if read and read[0] is None:", "if False:"),
    ),
    *_of(
        "adapters/sql/audit_chain.py",
        "tests/adapters/test_audit_stores.py",
        ("one chain for each server", "X55", 'LOCK_SQL = f"{_HEAD_SQL} FOR UPDATE"', "LOCK_SQL = _HEAD_SQL"),
    ),
]
