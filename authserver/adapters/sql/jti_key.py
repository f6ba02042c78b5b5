"""Under which key a used jti is remembered: sixteen bytes, whatever client and jti are."""

import hashlib


def used_jti_key(client_id: str, jti: str) -> bytes:
    """Return the 16 bytes under which a client's jti is remembered.

    A SHA-256, cut to 16 bytes, over both values, the first led by its length in bytes: no two pairs have the
    same encoding (threat B11). A jti is the sender's choice, so a lone surrogate must not be an error.
    """
    client, identifier = (value.encode("utf-8", "surrogatepass") for value in (client_id, jti))
    return hashlib.sha256(len(client).to_bytes(8, "big") + client + identifier).digest()[:16]
