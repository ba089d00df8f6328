"""Signing in: exactly the kind that is named, every missing part at its place, nothing asked before it is needed."""

from __future__ import annotations

import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from azure.core.credentials import AccessTokenInfo
from azure_clients import SCOPE
from azure_emulator import Cloud
from azure_emulator.machine_learning.workspaces import add_workspace
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from release_project import ReleaseProject, release_project

from orchestration.errors import ConfigurationError
from orchestration.platforms.azure.credentials import Remembering, credential

CLIENT = "00000000-0000-4000-8000-000000000002"


def signed_in(project: ReleaseProject, settings: str) -> str:
    """The application or identity that the token of this credential is for."""
    project.configure(credential=settings)
    token = credential(project.settings).get_token(SCOPE).token
    return project.cloud.directory.tokens[token].principal.client_id


def refusal(project: ReleaseProject, settings: str) -> ConfigurationError:
    def sign_in() -> None:
        credential(project.configure(credential=settings))

    with pytest.raises(ConfigurationError) as error:
        sign_in()
    assert "\n" not in str(error.value)
    assert not project.cloud.exchanges  # nobody was asked
    return error.value


def test_a_client_secret(project: ReleaseProject) -> None:
    token = credential(project.settings).get_token(SCOPE).token
    assert project.cloud.directory.tokens[token].principal == project.application.principal


@pytest.mark.parametrize("part", ["tenant_id", "client_id", "client_secret"])
def test_a_client_secret_lacks_a_part(project: ReleaseProject, part: str) -> None:
    parts = {"tenant_id": CLIENT, "client_id": CLIENT, "client_secret": "{file: secret.txt}"}
    given = ", ".join(f"{name}: {value}" for name, value in parts.items() if name != part)
    error = refusal(project, f"{{kind: client_secret, {given}}}")
    assert str(error.at).startswith("config/dev.yaml:")
    assert part in str(error)


def test_a_certificate_file(project: ReleaseProject, tmp_path: Path) -> None:
    key, pem = certificate()
    application = project.cloud.directory.register(certificate=pem)
    (project.root / "app.pem").write_bytes(key + pem)
    parts = f"tenant_id: {project.cloud.directory.tenant}, client_id: {application.principal.client_id}"
    assert (
        signed_in(project, f"{{kind: certificate, {parts}, certificate: app.pem}}") == application.principal.client_id
    )


def test_a_file_that_holds_no_certificate_is_not_quoted(project: ReleaseProject) -> None:
    (project.root / "app.pem").write_text("-----BEGIN PRIVATE KEY-----\nsecret stuff\n")
    parts = f"tenant_id: {CLIENT}, client_id: {CLIENT}"
    error = refusal(project, f"{{kind: certificate, {parts}, certificate: app.pem}}")
    assert "app.pem holds no certificate" in str(error)
    assert "secret stuff" not in str(error)


def test_a_workload_identity_is_found_by_its_variables(
    project: ReleaseProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = federated_token()
    application = project.cloud.directory.register(issuer=ISSUER, subject=SUBJECT)
    (tmp_path / "token").write_text(token)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AZURE_TENANT_ID", project.cloud.directory.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", application.principal.client_id)
    assert signed_in(project, "{kind: workload_identity}") == application.principal.client_id


def test_a_workload_identity_names_the_variables_that_are_missing(project: ReleaseProject) -> None:
    error = refusal(project, "{kind: workload_identity}")
    assert "AZURE_TENANT_ID and AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE" in str(error)


def test_a_workload_identity_whose_file_is_gone(project: ReleaseProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token")
    error = refusal(project, f"{{kind: workload_identity, tenant_id: {CLIENT}, client_id: {CLIENT}}}")
    assert "/nowhere/token, which is no file" in str(error)


def test_a_managed_identity(project: ReleaseProject) -> None:
    machine = project.cloud.directory.machine = project.cloud.directory.principal("machine")
    assert signed_in(project, "{kind: managed_identity}") == machine.client_id


def test_the_azure_cli_is_asked_once_for_many_clients(
    project: ReleaseProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_az(tmp_path, project.cloud, monkeypatch)
    project.configure(credential="{kind: cli}")
    project.session.details()
    assert project.platform.get("endpoint", "echo-dev") is None
    assert calls.read_text().count("get-access-token") == 1


def test_without_the_azure_cli_the_message_says_so(project: ReleaseProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    project.configure(credential="{kind: cli}")
    with pytest.raises(ConfigurationError, match=r"Azure CLI not found.*Install the Azure CLI"):
        project.session.details()


def test_a_wrong_secret_is_one_line_with_the_cure(project: ReleaseProject) -> None:
    (project.root / "secret.txt").write_text("another-made-up-secret")
    with pytest.raises(ConfigurationError) as error:
        project.session.details()
    message = str(error.value)
    assert "AADSTS7000215" in message
    assert "az ad app credential reset" in message
    assert "\n" not in message
    assert "another-made-up-secret" not in message


def test_an_application_that_does_not_exist(cloud: Cloud, tmp_path: Path) -> None:
    project = release_project(tmp_path, cloud)
    parts = f"tenant_id: {cloud.directory.tenant}, client_id: {CLIENT}, client_secret: {{file: secret.txt}}"
    project.configure(credential=f"{{kind: client_secret, {parts}}}")
    with pytest.raises(ConfigurationError, match=r"sign-in to Azure failed.*client_id and tenant_id"):
        project.session.details()


def test_two_environments_share_a_session_only_if_workspace_and_identity_are_the_same(project: ReleaseProject) -> None:
    first = project.session
    assert project.session is first
    other = project.cloud.directory.register(secret="made-up-too")
    (project.root / "other.txt").write_text("made-up-too")
    project.configure(
        credential=f"{{kind: client_secret, tenant_id: {project.cloud.directory.tenant}, "
        f"client_id: {other.principal.client_id}, client_secret: {{file: other.txt}}}}"
    )
    assert project.session is not first
    project.workspace = add_workspace(project.cloud, resource_group="team", name="studio")
    project.configure()
    assert project.session is not first


def test_tokens_are_kept_until_shortly_before_their_end() -> None:
    asked: list[tuple[str, ...]] = []

    class Inner:
        def get_token_info(self, *scopes: str, options: object = None) -> AccessTokenInfo:
            asked.append(scopes)
            return AccessTokenInfo(f"token {len(asked)}", int(now[0]) + 3600)

    now = [0.0]
    keeping = Remembering(Inner(), now=lambda: now[0])
    assert [keeping.get_token("a").token, keeping.get_token("a").token] == ["token 1", "token 1"]
    assert keeping.get_token("b").token == "token 2"
    now[0] = 3301
    assert keeping.get_token("a").token == "token 3"


ISSUER, SUBJECT = "https://issuer.example", "system:serviceaccount:team:sluice"


def federated_token() -> str:
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": "api://AzureADTokenExchange"}
    return jwt.encode(claims, "any key: Azure asks the issuer for its own", algorithm="HS256")


def certificate() -> tuple[bytes, bytes]:
    """A private key and a certificate for it, in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")]), datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, signed.public_bytes(serialization.Encoding.PEM)


def fake_az(folder: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `az` on the PATH that somebody has signed in; returns the file in which it notes its calls."""
    token = cloud.directory.issue(cloud.directory.principal("somebody"), "https://management.azure.com").text
    calls, az = folder / "calls", folder / "az"
    answer = {"accessToken": token, "expires_on": 4_000_000_000, "expiresOn": "2096-10-02 07:06:40.000000"}
    az.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(calls)!r}, 'a').write(' '.join(sys.argv) + '\\n')\nprint(json.dumps({answer!r}))\n"
    )
    az.chmod(az.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return calls
