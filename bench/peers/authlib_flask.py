"""Authlib's authorization server as a peer, put together as its documentation shows: Flask, SQLAlchemy's ORM, SQLite.

Tuned as a careful operator would: WAL, the client's key kept parsed, the jti stored. Tokens are rows.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import Flask
from joserfc import jwt
from joserfc.jwk import import_key
from sqlalchemy import create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

FOLDER, SECRET, BASE = Path(os.environ["BENCH_FOLDER"]), os.environ["BENCH_SECRET"], os.environ["BENCH_BASE"]
LIFETIME = 300


class Base(DeclarativeBase):
    """The tables of this peer."""


class Token(Base):
    """An issued token."""

    __tablename__ = "token"
    access_token: Mapped[str] = mapped_column(primary_key=True)
    client_id: Mapped[str]
    scope: Mapped[str]
    expires_at: Mapped[int]

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        return False


class UsedJti(Base):
    """An assertion that was used."""

    __tablename__ = "used_jti"
    jti: Mapped[str] = mapped_column(primary_key=True)


class Client(ClientMixin):
    """A registered client."""

    def __init__(self, client_id: str, method: str, jwk: dict[str, Any] | None = None) -> None:
        self.client_id, self.method = client_id, method
        self.key = None if jwk is None else import_key(jwk)

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.method

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


engine = create_engine(f"sqlite:///{FOLDER}/peer.db")


@event.listens_for(engine, "connect")
def _prepare(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")


Base.metadata.create_all(engine)
sessions = scoped_session(sessionmaker(engine))
CLIENTS = {
    f"bench-{jwk['alg'].lower()}": Client(
        f"bench-{jwk['alg'].lower()}", JWTBearerClientAssertion.CLIENT_AUTH_METHOD, jwk
    )
    for jwk in json.loads((FOLDER / "keys.json").read_text())
}
CLIENTS["resource-server"] = Client("resource-server", "client_secret_basic")


class Assertion(JWTBearerClientAssertion):
    """Client authentication by a signed assertion (RFC 7523)."""

    def get_audiences(self) -> list[str]:
        return [f"{BASE}/oauth/token"]

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        sessions.add(UsedJti(jti=jti))
        try:
            sessions.commit()
        except IntegrityError:
            sessions.rollback()
            return False
        return True

    def resolve_client_public_key(self, client: Client) -> Any:
        return client.key

    def process_assertion_claims(self, assertion: str, resolve_key: Any) -> dict[str, Any]:
        # As Authlib does it, but for RS384 and ES384, which it does not take by default.
        claims = jwt.decode(assertion, resolve_key, algorithms=["RS384", "ES384"]).claims
        self.verify_claims(claims)
        return claims


class ClientCredentials(grants.ClientCredentialsGrant):
    """The grant of RFC 6749 section 4.4."""

    TOKEN_ENDPOINT_AUTH_METHODS = [JWTBearerClientAssertion.CLIENT_AUTH_METHOD]  # noqa: RUF012 -- Authlib's own name


class Introspection(IntrospectionEndpoint):
    """RFC 7662."""

    CLIENT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012 -- Authlib's own name

    def query_token(self, token: str, token_type_hint: str | None) -> Token | None:
        return sessions.scalar(select(Token).where(Token.access_token == token))

    def check_permission(self, token: Token, client: Client, request: object) -> bool:
        return True

    def introspect_token(self, token: Token) -> dict[str, Any]:
        return {"active": True, "client_id": token.client_id, "scope": token.scope, "exp": token.expires_at}


def save_token(token: dict[str, Any], request: Any) -> None:
    """Store an issued token."""
    expires = int(time.time()) + token["expires_in"]
    sessions.add(
        Token(
            access_token=token["access_token"],
            client_id=request.client.client_id,
            scope=token.get("scope", ""),
            expires_at=expires,
        )
    )
    sessions.commit()


application = Flask("peer")
application.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"client_credentials": LIFETIME}
server = AuthorizationServer(application, query_client=CLIENTS.get, save_token=save_token)
server.register_client_auth_method(JWTBearerClientAssertion.CLIENT_AUTH_METHOD, Assertion(validate_jti=True))
server.register_grant(ClientCredentials)
server.register_endpoint(Introspection)


@application.teardown_appcontext
def _remove(_error: BaseException | None) -> None:
    sessions.remove()


@application.post("/oauth/token")
def token() -> Any:
    return server.create_token_response()


@application.post("/oauth/introspect")
def introspect() -> Any:
    return server.create_endpoint_response("introspection")


@application.get("/healthz")
def healthz() -> str:
    return "ok"
