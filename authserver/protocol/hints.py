"""How to mend a refusal, where the fix is certain: one sentence for a reason code.

docs/errors.md says more of every code; what is uncertain has no hint, since a wrong one costs more than none.
"""

from collections.abc import Mapping

HINTS: Mapping[str, str] = {
    "alg_not_allowed": "Sign by one of the algorithms that the discovery document lists for the token endpoint.",
    "alg_not_registered": "Sign by a registered algorithm, or add this one to token_endpoint_auth_signing_alg.",
    "assertion_missing": "Send the signed JWT in the form as client_assertion.",
    "assertion_type": "Send client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer.",
    "assertion_type_not_registered": "Register the jwt-bearer type in auth.client_credentials.client_assertion_types.",
    "aud_mismatch": "Set aud to the token endpoint's URL exactly as the discovery document spells it.",
    "client_id_mismatch": "Leave client_id out of the form, or send the value of sub.",
    "client_inactive": 'Set active to true in the Client resource ("authserver client enable ID").',
    "client_unknown": "Register the client, or correct iss and sub: both are the client id, at this server.",
    "client_without_keys": "Register a jwks_uri or inline keys for the client.",
    "exp_malformed": "Send exp as a JSON number of seconds since 1970, without quotes.",
    "exp_missing": "Add exp: now + 300 seconds at most.",
    "exp_past": "Make a new assertion for every request, and check that the client's clock is right (NTP).",
    "exp_too_far": "Set exp to at most 300 seconds from now, and check that the client's clock is right (NTP).",
    "grant_not_registered": "Add client_credentials to grant_types of the Client resource.",
    "grant_type_missing": "Send grant_type=client_credentials in the form.",
    "iat_future": "Check that the client's clock is right (NTP).",
    "iat_malformed": "Send iat as a JSON number of seconds since 1970, or leave it out.",
    "iss_not_sub": "Set both iss and sub to the client id.",
    "jku_mismatch": "Leave jku out of the header, or set it to the registered jwks_uri, to the byte.",
    "jti_missing": "Add a jti: a new random string of at most 256 characters for every assertion.",
    "jti_replayed": "Make a new assertion with a new jti for every request, retries included.",
    "jws_header": "Leave jwk, x5c, x5u, crit and the like out of the header; kid names the key.",
    "jws_malformed": "Send three base64url segments without padding, with dots between.",
    "jwks_cooling_down": "Wait half a minute after publishing a key before the first assertion that it signs.",
    "key_algorithm": "Sign by the algorithm that the key is for, or publish a key for this algorithm.",
    "key_ambiguous": "Give every published key a kid of its own.",
    "key_not_found": "Publish the key under the kid that the header names, or name a kid that is published.",
    "key_publicly_known": "Make a key pair of your own: the private half of this one is printed in public documents.",
    "key_unusable": "Replace the key: what is wrong with it stands beside it in the list of keys.",
    "kid_missing": "Put the kid of the signing key into the header.",
    "lifetime_too_long": "Set exp to at most 300 seconds after iat.",
    "media_type": "Send the body as application/x-www-form-urlencoded.",
    "nbf_future": "Check that the client's clock is right (NTP), or leave nbf out.",
    "nbf_malformed": "Send nbf as a JSON number of seconds since 1970, or leave it out.",
    "nothing_granted": "Ask for scopes that the Client resource lists, or add them there.",
    "other_mechanism": "Authenticate in one way: by client_assertion alone, without secret or Authorization header.",
    "parameter_repeated": "Send each parameter once.",
    "query_parameter": "Move the parameters from the URL into the body.",
    "scope_malformed": "Spell scopes as system/Observation.rs, letters in the order cruds, one blank between two.",
    "signature_invalid": "Sign with the private half of the published key, over the two segments as they are sent.",
    "sub_malformed": "Set sub to the client id: letters, digits, - and ., at most 64 characters.",
    "typ_not_allowed": "Set typ to JWT, or leave it out.",
    "unknown_grant_type": "Send grant_type=client_credentials.",
}
"""The sentence for each code that has a certain fix."""
