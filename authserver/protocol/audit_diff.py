"""What a change of a registered resource changed: paths with the value before and after, without any secret.

Values are shown only of members that this server knows and that are public by their meaning. Any other member, a
secret above all, is named and not shown.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

MAX_VALUE = 2_000
"""Characters of JSON that a shown value may have."""

MAX_CHANGES = 100

_SHOWN = frozenset(
    {
        "type",
        "active",
        "name",
        "description",
        "tenant",
        "scope",
        "grant_types",
        "jwks_uri",
        "jwks",
        "engine",
        "link",
        "token_endpoint_auth_signing_alg",
        "first_party",
        "trusted",
        "audience_mode",
        "scope_mode",
        "introspection_audience",
        "registration_scope",
        "auth.client_credentials.client_assertion_types",
        "auth.client_credentials.access_token_expiration",
        "auth.client_credentials.token_format",
        "auth.client_credentials.audience",
    }
)
Change = dict[str, object]


def changes(before: Mapping[str, object], after: Mapping[str, object], *, secret_changed: bool = False) -> list[Change]:
    """Return what differs, by path, in the order of the paths; at most MAX_CHANGES, then one that says `more`.

    A shown difference has `before` and `after`, where there is one; any other only its path.
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    missing = object()
    paths = sorted(path for path in old.keys() | new.keys() if old.get(path, missing) != new.get(path, missing))
    found = [_change(path, old, new) for path in paths[:MAX_CHANGES]]
    if len(paths) > MAX_CHANGES:
        found.append({"more": len(paths) - MAX_CHANGES})
    return [*found, {"path": "secret"}] if secret_changed else found


def _leaves(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, member in value.items():
        path = f"{prefix}{name}"
        if isinstance(member, Mapping) and path in ("auth", "auth.client_credentials"):
            yield from _leaves(member, f"{path}.")
        else:
            yield path, member


def _change(path: str, old: Mapping[str, object], new: Mapping[str, object]) -> Change:
    change: Change = {"path": path if path in _SHOWN else path[:64]}
    if path not in _SHOWN:
        return change
    for side, values in (("before", old), ("after", new)):
        if path in values:
            shown = _key_names(values[path]) if path == "jwks" else values[path]
            change[side] = shown if len(json.dumps(shown)) <= MAX_VALUE else "(long)"
    return change


def _key_names(jwks: object) -> list[object]:
    """Return the kid of each inline key: the keys themselves are long, and a private one must not be here at all."""
    keys = jwks.get("keys") if isinstance(jwks, Mapping) else jwks
    return [key.get("kid") for key in keys if isinstance(key, Mapping)] if isinstance(keys, Sequence) else []
