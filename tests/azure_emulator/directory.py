"""The tenant's directory: who may sign in and how, and the access tokens that were handed out."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .clock import Clock
from .scenario import Scenario
from .wire import Response, error

ARM_AUDIENCES = frozenset({"https://management.azure.com", "https://management.core.windows.net"})
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Principal:
    """An application's service principal, or a managed identity. `created` is by the emulator's clock."""

    client_id: str
    object_id: str
    created: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """What an application may prove itself with: a secret, a certificate (PEM), a federated subject."""

    principal: Principal
    secret: str = ""
    certificate: bytes = b""
    issuer: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token as it was issued."""

    text: str
    principal: Principal
    audience: str
    issued: float
    expires_in: int
    claims: Mapping[str, Any]


@dataclass
class Directory:
    """One tenant."""

    scenario: Scenario
    clock: Clock
    tenant: str = field(default_factory=lambda: str(uuid.uuid4()))
    applications: dict[str, Application] = field(default_factory=dict)
    principals: dict[str, Principal] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    machine: Principal | None = None  # the identity of the machine, as its metadata service knows it

    def principal(self, name: str = "", *, client_id: str = "") -> Principal:
        """A new principal, as a new application or managed identity has."""
        new = Principal(client_id or str(uuid.uuid4()), str(uuid.uuid4()), self.clock.now(), name)
        self.principals[new.object_id] = new
        return new

    def register(
        self, *, client_id: str = "", secret: str = "", certificate: bytes = b"", issuer: str = "", subject: str = ""
    ) -> Application:
        """A new application that may sign in with what is given."""
        new = Application(self.principal(client_id=client_id), secret, certificate, issuer, subject)
        self.applications[new.principal.client_id] = new
        return new

    def remove(self, object_id: str) -> None:
        """Forget a principal; its tokens stay valid until they expire, as on Azure."""
        self.principals.pop(object_id, None)

    def issue(self, principal: Principal, audience: str) -> Token:
        """A new access token, unsigned, in the shape of a JWT."""
        seconds = HOUR if self.scenario.token_seconds is None else 1  # told to clients: don't keep it
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self.tenant}/",
            "iat": now,
            "nbf": now - 300,
            "exp": now + max(seconds, HOUR),
            "appid": principal.client_id,
            "idtyp": "app",
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": self.tenant,
            "upn": f"{principal.client_id}@{self.tenant}",
            "uti": uuid.uuid4().hex,
            "ver": "1.0",
        }
        text = ".".join(map(_base64, ({"typ": "JWT", "alg": "none"}, claims, "unsigned")))
        token = Token(text, principal, audience, self.clock.now(), seconds, claims)
        self.tokens[text] = token
        return token

    def token_of(self, headers: Mapping[str, str]) -> Token | None:
        """The token in a request's headers, if it is one of ours."""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        return self.tokens.get(text) if scheme.lower() == "bearer" else None

    def refusal(self, headers: Mapping[str, str]) -> Response | None:
        """The answer to a request whose token is missing, unknown, too old or for another audience; None: all is well."""
        if "authorization" not in headers:
            return self._unauthorized(
                "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
            )
        token = self.token_of(headers)
        if token is None:
            return self._unauthorized("InvalidAuthenticationToken", "The access token is invalid.")
        age, limit = self.clock.now() - token.issued, self.scenario.token_seconds
        if limit is not None and age >= limit:
            return self._unauthorized("ExpiredAuthenticationToken", f"The access token expired {age - limit:g} s ago.")
        if token.audience.rstrip("/") not in ARM_AUDIENCES:
            wrong = f"The access token has been obtained for wrong audience or resource '{token.audience}'."
            return self._unauthorized("InvalidAuthenticationTokenAudience", wrong)
        return None

    def _unauthorized(self, code: str, message: str) -> Response:
        where = f'Bearer authorization_uri="https://login.microsoftonline.com/{self.tenant}"'
        challenge = f'{where}, error="invalid_token", error_description="{message}"'
        return error(401, code, message, headers={"WWW-Authenticate": challenge})


def _base64(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
