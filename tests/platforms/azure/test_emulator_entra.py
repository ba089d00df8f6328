"""Signing in at the emulated cloud, by azure-identity's own credentials."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure_clients import GROUP, SCOPE, SECRET, WORKSPACE, bearer, identities, sign_in
from azure_emulator import Cloud
from azure_emulator.entra import msi_environment
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER, SUBJECT = "https://issuer.example", "repo:team/flows:environment:dev"


def claims_of(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_a_client_secret_gets_a_token_that_says_who_it_is_for(cloud: Cloud) -> None:
    credential = sign_in(cloud)
    (application,) = cloud.directory.applications.values()
    claims = claims_of(credential.get_token(SCOPE).token)
    assert claims["oid"] == application.principal.object_id
    assert claims["appid"] == application.principal.client_id
    assert claims["tid"] == cloud.directory.tenant
    assert claims["aud"] == "https://management.azure.com"
    assert application.principal.client_id in str(claims["upn"])
    assert float(str(claims["exp"])) > dt.datetime.now(dt.UTC).timestamp()
    hosts = {each.url.split("/")[2] for each in cloud.exchanges}
    assert hosts == {"login.microsoftonline.com"}


@pytest.mark.parametrize(
    ("tenant", "client", "secret", "code"),
    [
        (None, None, "wrong", "AADSTS7000215"),
        (None, "00000000-0000-0000-0000-00000000dead", SECRET, "AADSTS700016"),
        ("00000000-0000-0000-0000-00000000dead", None, SECRET, "Unable to get authority configuration"),
    ],
)
def test_a_wrong_secret_application_or_tenant_is_refused(
    cloud: Cloud, tenant: str | None, client: str | None, secret: str, code: str
) -> None:
    application = cloud.directory.register(secret=SECRET)
    known = tenant or cloud.directory.tenant, client or application.principal.client_id
    with pytest.raises((ClientAuthenticationError, ValueError), match=code):
        ClientSecretCredential(*known, secret).get_token(SCOPE)


def certificate() -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, both PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "worker")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return built.public_bytes(serialization.Encoding.PEM), key.private_bytes(serialization.Encoding.PEM, *formats)


def test_a_certificate_signs_in_and_another_one_does_not(cloud: Cloud) -> None:
    (mine, key), (other, other_key) = certificate(), certificate()
    client = cloud.directory.register(certificate=mine).principal.client_id
    given = {"certificate_data": mine + key}
    assert (
        claims_of(CertificateCredential(cloud.directory.tenant, client, **given).get_token(SCOPE).token)["appid"]
        == client
    )
    with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
        CertificateCredential(cloud.directory.tenant, client, certificate_data=other + other_key).get_token(SCOPE)


@pytest.mark.parametrize(("subject", "works"), [(SUBJECT, True), ("repo:fork/flows:environment:dev", False)])
def test_a_federated_token_signs_in_if_its_subject_is_registered(
    cloud: Cloud, tmp_path: Path, subject: str, works: bool
) -> None:
    client = cloud.directory.register(issuer=ISSUER, subject=SUBJECT).principal.client_id
    file = tmp_path / "token"
    federated = {"iss": ISSUER, "sub": subject, "aud": "api://AzureADTokenExchange"}
    file.write_text(jwt.encode(federated, "any key: Azure asks the issuer for its own", algorithm="HS256"))
    credential = WorkloadIdentityCredential(
        tenant_id=cloud.directory.tenant, client_id=client, token_file_path=str(file)
    )
    if works:
        assert claims_of(credential.get_token(SCOPE).token)["appid"] == client
    else:
        with pytest.raises(ClientAuthenticationError, match="AADSTS70021"):
            credential.get_token(SCOPE)


def test_the_machines_identity_and_one_by_client_id(cloud: Cloud) -> None:
    cloud.directory.machine = cloud.directory.principal("machine")
    assert claims_of(ManagedIdentityCredential().get_token(SCOPE).token)["oid"] == cloud.directory.machine.object_id
    made = identities(cloud).user_assigned_identities.create_or_update("team", "mine", {"location": "westeurope"})
    for asked in ({"client_id": made.client_id}, {"identity_config": {"resource_id": made.id}}):
        assert claims_of(ManagedIdentityCredential(**asked).get_token(SCOPE).token)["oid"] == made.principal_id


def test_a_machine_without_identity_has_no_token(cloud: Cloud) -> None:
    with pytest.raises(CredentialUnavailableError, match="Identity not found"):
        ManagedIdentityCredential().get_token(SCOPE)


def test_a_container_gets_tokens_of_its_endpoint(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = cloud.directory.principal("endpoint")
    for name, value in msi_environment(cloud, endpoint).items():
        monkeypatch.setenv(name, value)
    assert claims_of(ManagedIdentityCredential().get_token(SCOPE).token)["oid"] == endpoint.object_id


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "AuthenticationFailed"),
        ({"Authorization": "Bearer a.b.c"}, "InvalidAuthenticationToken"),
    ],
)
def test_a_request_without_a_token_of_this_cloud_is_unauthorized(
    cloud: Cloud, headers: dict[str, str], code: str
) -> None:
    answer = requests.get(f"https://management.azure.com{WORKSPACE}", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_a_token_for_another_audience_is_unauthorized(cloud: Cloud) -> None:
    storage = sign_in(cloud).get_token("https://storage.azure.com/.default").token
    headers = {"Authorization": f"Bearer {storage}"}
    answer = requests.get(f"https://management.azure.com{WORKSPACE}", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationTokenAudience")


def test_a_captured_token_expires_by_the_clock_and_a_credential_renews_its_own(cloud: Cloud) -> None:
    cloud.scenario.token_seconds = 3600
    captured, client = bearer(cloud), identities(cloud)
    client.user_assigned_identities.create_or_update("team", "mine", {"location": "westeurope"})
    address = f"https://management.azure.com{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
    address += "?api-version=2023-01-31"
    assert requests.get(address, headers=captured, timeout=10).status_code == 200
    cloud.clock.sleep(3600)
    answer = requests.get(address, headers=captured, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "ExpiredAuthenticationToken")
    assert client.user_assigned_identities.get("team", "mine").name == "mine"
