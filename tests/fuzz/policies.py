"""Random policies over random requests: our decision against a naive reading of the same JSON (threat G08).

The reference below is written from docs/policies.md, shares no code with the server, and is as plain as can be.
The long run: `python -m tests.fuzz.policies [COUNT [SEED]]`.
"""

import random
import re
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from authserver.protocol import policy
from authserver.protocol.client import Client
from authserver.protocol.policy_request import PolicyRequest
from tests.builders import make_client

SCALARS = ["a", "b", "ab", "", " ", "1", 1, 1.0, 0, 2.5, True, False, None, "Patient/1", "Group/a", "get", "GET"]
NAMES = ["a", "b", "id", "reference", "resourceType", "list"]
ROOTS = ["request-method", "uri", "query-string", "params", "headers", "remote-addr", "body", "client", "jwt", "tenant"]
ROOTS += ["operation", "scheme"]
REGEXES = ["^a", "b$", "a.*b", "^[ab]+$", "1", "^$", "Patient", "^get$", "GET|put", "x"]
PATHS = [
    "params.a",
    "client.details.list.0",
    "client.details.a",
    "jwt.sub",
    "body.a",
    "body.list.1",
    "tenant",
    "jwt.none",
]
LISTS = ["client.details.list", "jwt.list", "tenant"]
METHODS = {"GET": "get", "HEAD": "get", "PUT": "put", "DELETE": "delete"}
OPERATIONS = {"read": "FhirRead", "update": "FhirUpdate", "auth-introspect": "auth-introspect", "magic": None, "": None}
JSON = dict[str, Any]


@dataclass
class Report:
    """What a run saw."""

    decisions: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


def run(count: int, *, seed: int) -> Report:
    """Judge so many random requests; raises AssertionError with the case when the two readings differ."""
    dice, report = random.Random(seed), Report()
    while report.decisions < count:
        bodies = [a_policy(dice) for _ in range(dice.randint(1, 4))]
        policies = [policy.from_resource(body, policy_id=f"p{index}") for index, body in enumerate(bodies)]
        for _ in range(min(4, count - report.decisions)):
            client, request = a_client(dice), a_request(dice)
            decided = policy.decide(policies, client, request)
            verdicts = policy.explain(policies, client, request)
            expected = reference_verdicts(bodies, client, request)
            case = f"seed {seed}: {bodies!r} {request!r} {dict(client.resource)!r}"
            assert {verdict.policy: verdict.allowed for verdict in verdicts} == expected, case
            first = next((name for name, allowed in expected.items() if allowed), None)
            assert (decided.allowed, decided.policy, decided.failed) == (first is not None, first, ()), case
            report.decisions += 1
            report.outcomes["allowed" if decided.allowed else "refused"] += 1
            report.outcomes.update(f"{v.engine} {'yes' if v.allowed else 'no'}" for v in verdicts)
    return report


# What is generated


def a_value(dice: random.Random, depth: int = 2) -> Any:
    """Return any JSON value."""
    kind = dice.random()
    if depth == 0 or kind < 0.6:
        return dice.choice(SCALARS)
    if kind < 0.8:
        return [a_value(dice, depth - 1) for _ in range(dice.randint(0, 3))]
    return {dice.choice(NAMES): a_value(dice, depth - 1) for _ in range(dice.randint(0, 3))}


def a_client(dice: random.Random) -> Client:
    """Return one of three clients with details, perhaps of a tenant."""
    details = {"list": [dice.choice(SCALARS) for _ in range(dice.randint(0, 3))], "a": a_value(dice)}
    changes = {"details": details} if dice.random() < 0.8 else {}
    return make_client(f"client-{dice.randint(1, 3)}", tenant=dice.choice([None, "a", "b"]), **changes)


def a_request(dice: random.Random) -> PolicyRequest:
    """Return a request with anything in it."""
    texts = [text for text in SCALARS if isinstance(text, str)]
    names = ["a", "b", "a", "resource/type", "resource/id"]
    headers = {name: dice.choice(texts) for name in ("a", "b", "authorization") if dice.random() < 0.5}
    claims = {"sub": "a", "list": [dice.choice(SCALARS)], "b": a_value(dice)} if dice.random() < 0.7 else None
    return PolicyRequest(
        method=dice.choice(list(METHODS)),
        path=dice.choice(["/", "/a", "/a/", "/a/b", "/Patient/1"]),
        parameters=tuple((dice.choice(names), dice.choice(texts)) for _ in range(dice.randint(0, 3))),
        interaction=dice.choice(list(OPERATIONS)),
        resource_type=dice.choice([None, "Patient", "a"]),
        resource_id=dice.choice([None, "1"]),
        scheme=dice.choice(["", "https", "HTTP"]),
        headers=tuple(headers.items()),
        remote_addr=dice.choice(["", "1", "ab"]),
        body=a_value(dice, 3) if dice.random() < 0.7 else None,
        claims=claims,
    )


def a_policy(dice: random.Random) -> JSON:
    """Return a policy that compiles, with any links."""
    targets = ["Client/client-1", "Client/client-2", "Operation/FhirRead", "Operation/auth-introspect"]
    link = [{"reference": dice.choice(targets)} for _ in range(dice.choice([0, 0, 0, 1, 2]))]
    return {**a_rule(dice, 2), "link": link}


def a_rule(dice: random.Random, depth: int) -> JSON:
    """Return an engine with its condition."""
    kind = dice.random()
    if kind < 0.25 and depth > 0:
        parts = [a_rule(dice, depth - 1) for _ in range(dice.randint(1, 3))]
        return {"engine": "complex", dice.choice(["and", "or"]): parts}
    if kind < 0.3:
        return {"engine": "allow"}
    if kind < 0.33:
        return {"engine": "json-schema", "schema": a_schema(dice, 2)}
    return {"engine": "matcho", "matcho": a_root(dice, 2)}


def a_root(dice: random.Random, depth: int) -> JSON:
    """Return a pattern for a request."""
    if depth > 0 and dice.random() < 0.1:
        return {"$one-of": [a_root(dice, depth - 1) for _ in range(dice.randint(1, 2))]}
    if depth > 0 and dice.random() < 0.1:
        return {"$not": a_root(dice, depth - 1)}
    return {name: a_pattern(dice, 3) for name in dice.sample(ROOTS, dice.randint(1, 2))}


def a_pattern(dice: random.Random, depth: int) -> Any:
    """Return a pattern of any form."""
    kind = dice.random()
    if depth == 0 or kind < 0.2:
        return dice.choice(SCALARS)
    if kind < 0.35:
        return dice.choice(["present?", "nil?", "not-blank?"])
    if kind < 0.42:
        return "#" + dice.choice(REGEXES)
    if kind < 0.5:
        return "." + dice.choice(PATHS)
    if kind < 0.57:
        return [a_pattern(dice, depth - 1) for _ in range(dice.randint(0, 2))]
    if kind < 0.75:
        return {dice.choice(NAMES): a_pattern(dice, depth - 1) for _ in range(dice.randint(0, 2))}
    return an_operator(dice, depth - 1)


def an_operator(dice: random.Random, depth: int) -> JSON:
    """Return a map with an operator, or two."""
    inner = a_pattern(dice, depth)
    several = [a_pattern(dice, depth) for _ in range(dice.randint(1, 3))]
    if dice.random() < 0.25:
        return {"$one-of": dice.choice([several, several, "." + dice.choice(LISTS)])}
    found: JSON = dice.choice(
        [
            {"$not": inner},
            {"$not": inner, "a": inner},
            {"$contains": inner},
            {"$every": inner},
            {"$present-all": several, "$length": len(several)},
            {"$present-all": several},
            {"$length": dice.randint(0, 3)},
            {"$enum": [dice.choice(SCALARS) for _ in range(dice.randint(1, 4))]},
            {"$eq": dice.choice(SCALARS)},
            {"$reference": inner},
            {"$reference": {"id": dice.choice(["1", "a", "present?"])}},
        ]
    )
    return found


def a_schema(dice: random.Random, depth: int) -> JSON:
    """Return a schema of the keywords that the reference knows."""
    names = ROOTS if depth == 2 else NAMES
    leaves: list[JSON] = [
        {"required": dice.sample(names, 1)},
        {"const": dice.choice(SCALARS)},
        {"enum": [dice.choice(SCALARS), dice.choice(SCALARS)]},
        {"pattern": dice.choice(REGEXES)},
        {"minItems": dice.randint(0, 2)},
    ]
    if depth == 0 or dice.random() < 0.3:
        return dice.choice(leaves)
    inner = a_schema(dice, depth - 1)
    name = dice.choice(names)
    return dice.choice(
        [
            {"properties": {name: inner}, "required": [name]},
            {"properties": {name: inner}},
            {"not": inner},
            {"anyOf": [inner, dice.choice(leaves)]},
            {"allOf": [inner, dice.choice(leaves)]},
            {"patternProperties": {"^" + name[0]: inner}},
            {"additionalProperties": inner},
        ]
    )


# The reference


def reference_verdicts(bodies: list[JSON], client: Client, request: PolicyRequest) -> dict[str, bool]:
    """Return the verdict of each candidate, by id."""
    operation, document = OPERATIONS[request.interaction], reference_document(client, request)
    mine = {f"Client/{client.id}", f"Operation/{operation}"}
    return {
        f"p{index}": reference_rule(body, document)
        for index, body in enumerate(bodies)
        if not body["link"] or any(link["reference"] in mine for link in body["link"])
    }


def reference_document(client: Client, request: PolicyRequest) -> JSON:
    """Return the request as docs/policies.md describes it."""
    params: JSON = {}
    for name, value in request.parameters:
        if not name.startswith("resource/"):
            former = params.get(name)
            params[name] = value if former is None else [*(former if isinstance(former, list) else [former]), value]
    if request.resource_type:
        params["resource/type"] = request.resource_type
    if request.resource_id:
        params["resource/id"] = request.resource_id
    path = request.path[:-1] if len(request.path) > 1 and request.path[-1] == "/" else request.path
    found: JSON = {"request-method": METHODS[request.method], "uri": path, "params": params}
    found["headers"] = {name: value for name, value in request.headers if name != "authorization"}
    found["client"] = {**client.resource, "resourceType": "Client", "id": client.id}
    optional = {
        "scheme": request.scheme.lower(),
        "query-string": "&".join(f"{quote_plus(n)}={quote_plus(v)}" for n, v in request.parameters),
        "remote-addr": request.remote_addr,
        "jwt": request.claims,
        "tenant": client.tenant,
        "operation": {"id": OPERATIONS[request.interaction]} if OPERATIONS[request.interaction] else None,
    }
    found.update({name: value for name, value in optional.items() if value not in (None, "")})
    if request.body is not None:
        found["body"] = request.body
    return found


def reference_rule(body: JSON, document: JSON) -> bool:
    """Say whether a policy allows."""
    engine = body["engine"]
    if engine == "allow":
        return True
    if engine == "matcho":
        return reads(body["matcho"], document, document, method=False, top=True)
    if engine == "json-schema":
        return valid(body["schema"], {n: e for n, v in document.items() if not empty(e := without_empty(v))})
    verdicts = [reference_rule(part, document) for part in body.get("and", body.get("or"))]
    return False not in verdicts if "and" in body else True in verdicts


def equal(left: Any, right: Any) -> bool:
    """Compare: the kinds of the two values first."""
    kinds = [
        bool if v is True or v is False else float if isinstance(v, int | float) else type(v) for v in (left, right)
    ]
    if kinds[0] is not kinds[1]:
        return False
    if kinds[0] is list:
        return len(left) == len(right) and False not in [equal(a, b) for a, b in zip(left, right, strict=True)]
    if kinds[0] is dict:
        return set(left) == set(right) and False not in [equal(left[name], right[name]) for name in left]
    return bool(left == right)


def walk(document: Any, path: str) -> Any:
    """Follow a path."""
    for part in path.split("."):
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return document


def reads(pattern: Any, value: Any, document: Any, *, method: bool = False, top: bool = False) -> bool:
    """Say whether the value fits the pattern; `method`: it is the request's method; `top`: it is the request."""
    if isinstance(pattern, dict):
        return reads_map(pattern, value, document, method=method, top=top)
    if isinstance(pattern, list):
        if not isinstance(value, list):
            return False
        padded = [*value, *[None] * len(pattern)]
        return False not in [reads(p, v, document) for p, v in zip(pattern, padded, strict=False)]
    if isinstance(pattern, str) and pattern[:1] == "#":
        return isinstance(value, str) and re.search(pattern[1:], value, re.IGNORECASE if method else 0) is not None
    if isinstance(pattern, str) and pattern[:1] == ".":
        there = walk(document, pattern[1:])
        return there is not None and equal(there, value)
    if pattern == "present?":
        return value is not None
    if pattern == "nil?":
        return value is None
    if pattern == "not-blank?":
        return isinstance(value, str) and value.strip() != ""
    return equal_method(pattern, value) if method else equal(pattern, value)


def equal_method(pattern: Any, value: Any) -> bool:
    """Compare a method."""
    return isinstance(pattern, str) and pattern.lower() == value


def reads_map(pattern: JSON, value: Any, document: Any, *, method: bool, top: bool) -> bool:
    """Say whether the value fits each entry of the map."""
    names = [name for name in pattern if name[:1] != "$"]
    if (names or not pattern) and not isinstance(value, dict):
        return False
    fitting = [
        reads(pattern[name], value.get(name), document, method=top and name == "request-method") for name in names
    ]
    for name in pattern:
        if name[:1] == "$":
            fitting.append(operates(name, pattern[name], value, document, method=method, top=top))
    return False not in fitting


def operates(name: str, inner: Any, value: Any, document: Any, *, method: bool, top: bool) -> bool:
    """Say whether the operator holds."""
    elements = value if isinstance(value, list) else []
    if name == "$not":
        return not reads(inner, value, document, method=method, top=top)
    if name == "$one-of" and isinstance(inner, str):
        allowed = walk(document, inner[1:])
        return value is not None and isinstance(allowed, list) and any(equal(one, value) for one in allowed)
    if name == "$one-of":
        return any(reads(one, value, document, method=method, top=top) for one in inner)
    if name in ("$enum", "$eq"):
        values = inner if name == "$enum" else [inner]
        return any(equal_method(one, value) if method else equal(one, value) for one in values)
    if name == "$contains":
        return any(reads(inner, one, document) for one in elements)
    if name == "$every":
        return len(elements) > 0 and all(reads(inner, one, document) for one in elements)
    if name == "$present-all":
        return isinstance(value, list) and all(any(reads(one, e, document) for e in elements) for one in inner)
    if name == "$length":
        return isinstance(value, list) and len(value) == inner
    return refers(inner, value, document)


def refers(inner: Any, value: Any, document: Any) -> bool:
    """Say whether `$reference` holds."""
    if isinstance(value, dict) and "reference" in value:
        value = value["reference"]
    elif isinstance(value, dict):
        pair = (value.get("resourceType"), value.get("id"))
        value = f"{pair[0]}/{pair[1]}" if isinstance(pair[0], str) and isinstance(pair[1], str) else None
    if not isinstance(value, str) or not re.fullmatch("[A-Z][A-Za-z]{0,63}/[A-Za-z0-9.-]{1,64}", value):
        return False
    kind, target = value.split("/")
    return reads(inner, {"resourceType": kind, "id": target}, document)


def empty(value: Any) -> bool:
    """Say whether a schema does not see it."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def without_empty(value: Any) -> Any:
    """Return the value without empty members."""
    if isinstance(value, list):
        return [without_empty(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: without_empty(one) for name, one in value.items()}
    return {name: one for name, one in kept.items() if not empty(one)}


def valid(schema: JSON, value: Any) -> bool:
    """Say whether the value is valid, by the keywords that are generated."""
    members = value if isinstance(value, dict) else {}
    named = [name for name in schema.get("properties", {}) if name in members]
    checks = {
        "required": lambda names: not isinstance(value, dict) or all(name in value for name in names),
        "const": lambda one: equal(one, value),
        "enum": lambda several: any(equal(one, value) for one in several),
        "pattern": lambda text: not isinstance(value, str) or re.search(text, value) is not None,
        "minItems": lambda count: not isinstance(value, list) or len(value) >= count,
        "properties": lambda inner: all(valid(inner[name], members[name]) for name in named),
        "not": lambda inner: not valid(inner, value),
        "anyOf": lambda several: any(valid(one, value) for one in several),
        "allOf": lambda several: all(valid(one, value) for one in several),
        "patternProperties": lambda by: all(valid(by[p], v) for p in by for n, v in members.items() if re.search(p, n)),
        "additionalProperties": lambda inner: all(valid(inner, v) for n, v in members.items() if n not in named),
    }
    return all(checks[keyword](inner) for keyword, inner in schema.items())


def main(arguments: list[str]) -> int:
    """Run and print what was seen."""
    given = [int(argument) for argument in arguments]
    count, seed = (*given, *(100_000, secrets.randbits(32))[len(given) :])
    print(f"seed {seed}", flush=True)
    started = time.monotonic()
    report = run(count, seed=seed)
    took = time.monotonic() - started
    print(f"{report.decisions} decisions in {took:.0f} s, as the reference: {dict(sorted(report.outcomes.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
