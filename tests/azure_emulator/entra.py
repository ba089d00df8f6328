"""Microsoft Entra ID and the metadata service of machines: discovery, and tokens for what a principal can prove.

Client secrets, signed assertions (certificates), federated assertions (workload identity), and managed identities:
of a machine (169.254.169.254) and of an Azure ML container (`MSI_ENDPOINT`, `MSI_SECRET`).
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.x509 import load_pem_x509_certificate

from .directory import Application, Directory, Principal
from .wire import Request, Response

if TYPE_CHECKING:
    from .cloud import Cloud

LOGIN = "login.microsoftonline.com"
ALIASES = [LOGIN, "login.windows.net", "login.microsoft.com", "sts.windows.net"]
IMDS = "169.254.169.254"
IDENTITY_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
FEDERATED_AUDIENCE = "api://AzureADTokenExchange"


def install(cloud: Cloud) -> None:
    """Answer at login.microsoftonline.com and at the metadata service."""
    login, metadata = Login(cloud.directory), Metadata(cloud)
    cloud.route(re.escape(LOGIN), login.handle, kind=lambda request: _login_kind(request.path))
    cloud.route(re.escape(IMDS), metadata.handle, kind="managed identity token")


def msi_environment(cloud: Cloud, principal: Principal) -> dict[str, str]:
    """The variables by which a container of Azure ML gets tokens for its endpoint's identity."""
    secret = uuid.uuid4().hex
    cloud.container_identities[secret] = principal
    return {"MSI_ENDPOINT": f"http://{IMDS}/msi/token", "MSI_SECRET": secret}


def _login_kind(path: str) -> str:
    return "token" if path.endswith("/token") else "discovery"


class Login:
    """The sign-in service of one tenant."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def handle(self, request: Request) -> Response | None:
        """Discovery and tokens."""
        if request.path == "/common/discovery/instance":
            return self._instances()
        tenant, _, rest = request.path.strip("/").partition("/")
        if tenant != self._directory.tenant:
            return _refusal(400, "invalid_tenant", 90002, f"Tenant '{tenant}' not found.")
        if rest == "v2.0/.well-known/openid-configuration":
            return self._configuration()
        if rest == "oauth2/v2.0/token" and request.method == "POST":
            return self._token(request)
        return None

    def _instances(self) -> Response:
        metadata = {"preferred_network": LOGIN, "preferred_cache": "login.windows.net", "aliases": ALIASES}
        endpoint = f"https://{LOGIN}/{self._directory.tenant}/v2.0/.well-known/openid-configuration"
        return Response(200, {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [metadata]})

    def _configuration(self) -> Response:
        base = f"https://{LOGIN}/{self._directory.tenant}"
        return Response(
            200,
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
            },
        )

    def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("grant_type") != "client_credentials":
            return _refusal(400, "unsupported_grant_type", 70003, "The grant type is not supported here.")
        client_id = form.get("client_id", "")
        application = self._directory.applications.get(client_id)
        if application is None:
            return _refusal(400, "unauthorized_client", 700016, f"Application '{client_id}' was not found.")
        refused = _refused_proof(application, form, request.url)
        return refused or _token_answer(self._directory, application.principal, form.get("scope", ""))


def _refused_proof(application: Application, form: Mapping[str, str], address: str) -> Response | None:
    """What is wrong with a secret or assertion; None if nothing is."""
    assertion = form.get("client_assertion", "")
    if not assertion:
        if application.secret and form.get("client_secret") == application.secret:
            return None
        return _refusal(401, "invalid_client", 7000215, "Invalid client secret provided.")
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
        if application.subject and claims.get("aud") == FEDERATED_AUDIENCE:
            return _refused_federation(application, claims)
        _verify(assertion, application, address)
    except (jwt.InvalidTokenError, ValueError):
        return _refusal(
            401, "invalid_client", 700027, "The certificate used to sign the client assertion is not registered."
        )
    return None


def _refused_federation(application: Application, claims: Mapping[str, Any]) -> Response | None:
    if (claims.get("iss"), claims.get("sub")) == (application.issuer, application.subject):
        return None
    return _refusal(
        401, "invalid_client", 70021, "No matching federated identity record found for presented assertion."
    )


def _verify(assertion: str, application: Application, address: str) -> None:
    """Raises `jwt.InvalidTokenError` for a wrong signature, audience or time; `ValueError` without a certificate."""
    key: Any = load_pem_x509_certificate(application.certificate).public_key()
    audience = urlsplit(address)._replace(query="").geturl()
    jwt.decode(assertion, key, algorithms=["RS256", "PS256"], audience=audience)


class Metadata:
    """The metadata service of the machine, and the token service of Azure ML's containers."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def handle(self, request: Request) -> Response | None:
        """Tokens of managed identities."""
        if request.path == "/metadata/identity/oauth2/token":
            return self._machine(request)
        if request.path == "/msi/token":
            return self._container(request)
        return None

    def _machine(self, request: Request) -> Response:
        if request.headers.get("metadata", "").lower() != "true":
            return _metadata_refusal("invalid_request", "Required metadata header not specified")
        principal = self._asked_for(request.query)
        if principal is None:
            return _metadata_refusal("invalid_request", "Identity not found")
        return self._answer(principal, request)

    def _asked_for(self, query: Mapping[str, str]) -> Principal | None:
        directory = self._cloud.directory
        resource = query.get("msi_res_id") or query.get("mi_res_id")
        if resource:
            found = self._cloud.arm.peek(resource)
            return directory.principals.get(found.properties["principalId"]) if found else None
        if "object_id" in query:
            return directory.principals.get(query["object_id"])
        if "client_id" in query:
            return next((p for p in directory.principals.values() if p.client_id == query["client_id"]), None)
        return directory.machine

    def _container(self, request: Request) -> Response:
        principal = self._cloud.container_identities.get(request.headers.get("secret", ""))
        if principal is None:
            return _metadata_refusal("unauthorized_client", "The secret is wrong")
        return self._answer(principal, request)

    def _answer(self, principal: Principal, request: Request) -> Response:
        resource = request.query.get("resource", "")
        token = self._cloud.directory.issue(principal, resource)
        times = {"expires_in": str(token.expires_in), "expires_on": str(int(time.time()) + token.expires_in)}
        body = {"access_token": token.text, "client_id": principal.client_id, "resource": resource, **times}
        return Response(200, {**body, "token_type": "Bearer"})


def _token_answer(directory: Directory, principal: Principal, scope: str) -> Response:
    if not scope.endswith("/.default"):
        return _refusal(400, "invalid_scope", 1002012, f"The provided value for scope {scope} is not valid.")
    token = directory.issue(principal, scope.removesuffix("/.default"))
    times = {"expires_in": token.expires_in, "ext_expires_in": token.expires_in}
    return Response(200, {"token_type": "Bearer", **times, "access_token": token.text})


def _refusal(status: int, name: str, number: int, text: str) -> Response:
    trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
    body = {
        "error": name,
        "error_description": f"AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation}",
        "error_codes": [number],
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://{LOGIN}/error?code={number}",
    }
    return Response(status, body)


def _metadata_refusal(name: str, text: str) -> Response:
    return Response(400, {"error": name, "error_description": text})
