"""Connections of a workspace: read through the real client, understood, created and rotated."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure_emulator import Cloud
from azure_emulator.models import Models
from release_project import ReleaseProject, release_project

from orchestration.errors import ConfigurationError, PlatformUnavailable
from orchestration.model_proxy import ModelProxy, Upstream
from orchestration.platforms.azure import connections
from orchestration.platforms.azure.workspace_connections import Custom, Model, exists, read, understand
from orchestration.settings import Connection

sys.path.insert(0, str(Path(__file__).parents[2] / "runtime"))
from workspace_shapes import AOAI, CUSTOM, KEY, MODELS, UNUSABLE

CONNECTION = Connection(kind="workspace", name="team-aoai", model_deployment="gpt", requests_per_minute=600)


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path) -> ReleaseProject:
    return release_project(tmp_path / "project", cloud)


def sent(cloud: Cloud) -> list[str]:
    """What was asked of the connections, without the query."""
    found = ((each.method, each.url.partition("?")[0]) for each in cloud.exchanges if "/connections/" in each.url)
    return [f"{method} {url.partition('/connections/')[2]}" for method, url in found]


@pytest.mark.parametrize("name", MODELS)
def test_models_are_understood(name: str) -> None:
    properties, kind, base_url, version, key = MODELS[name]
    found = understand("c", properties)
    assert found == Model(kind, base_url, key, version)  # type: ignore[arg-type]
    assert KEY not in repr(found)


def test_custom_keys_are_understood() -> None:
    found = understand("c", CUSTOM)
    assert found == Custom({"url": "https://x.example"}, {"token": KEY})
    assert KEY not in repr(found)


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_said(name: str) -> None:
    properties, says = UNUSABLE[name]
    with pytest.raises(ConfigurationError, match=says) as raised:
        understand("team-aoai", properties)
    assert "team-aoai" in str(raised.value)
    assert KEY not in str(raised.value)


def test_a_connection_that_was_created_is_the_model_that_was_meant(project: ReleaseProject) -> None:
    connections.create(
        project.settings, "team-aoai", kind="azure_openai", base_url=f"{AOAI}/", api_version="2024-06-01", key=KEY
    )
    found = connections.opened(project.settings, CONNECTION)
    assert isinstance(found, Upstream)
    assert found == Upstream("azure_openai", AOAI, "2024-06-01", "gpt", KEY, requests_per_minute=600)
    assert found.authorize is None
    assert sent(project.cloud) == ["GET team-aoai", "PUT team-aoai", "POST team-aoai/listsecrets"]


def test_rotation_changes_the_key_and_keeps_what_others_noted(project: ReleaseProject) -> None:
    settings = project.settings
    connections.create(settings, "team-aoai", kind="azure_openai", base_url=AOAI, api_version="2024-06-01", key="old")
    resource = project.cloud.arm.peek(f"{project.workspace.id}/connections/team-aoai")
    assert resource is not None
    resource.properties["metadata"]["ResourceId"] = "/subscriptions/x"
    connections.create(settings, "team-aoai", kind="azure_openai", base_url=AOAI, api_version="2024-10-21", key=KEY)
    assert read(project.session, "team-aoai") == Model("azure_openai", AOAI, KEY, "2024-10-21")
    rotated = project.cloud.arm.peek(f"{project.workspace.id}/connections/team-aoai")
    assert rotated is not None
    assert rotated.properties["metadata"] == {
        "ApiType": "azure",
        "ApiVersion": "2024-10-21",
        "ResourceId": "/subscriptions/x",
    }


def test_openai_needs_a_key(project: ReleaseProject) -> None:
    with pytest.raises(ConfigurationError, match="needs a key"):
        connections.create(project.settings, "team", kind="openai", base_url="https://m.example/v1")
    with pytest.raises(ConfigurationError, match="offline"):
        connections.create(project.settings, "team", kind="offline", key=KEY)
    assert sent(project.cloud) == []
    connections.create(project.settings, "team", kind="openai", base_url="https://m.example/v1", key=KEY)
    assert read(project.session, "team") == Model("openai", "https://m.example/v1", KEY)


def test_custom_keys_reach_the_prompt_flow(project: ReleaseProject) -> None:
    connections.create(project.settings, "search", kind="custom", values={"url": "https://x"}, secrets={"token": KEY})
    connection = Connection(kind="workspace", name="search")
    assert connections.opened(project.settings, connection) == {
        "type": "custom",
        "values": {"url": "https://x"},
        "secrets": {"token": KEY},
    }


def test_absent_is_said_with_the_next_command(project: ReleaseProject) -> None:
    assert not exists(project.session, "team-aoai")
    with pytest.raises(ConfigurationError, match=r"studio has no connection team-aoai\. Next: "):
        connections.opened(project.settings, CONNECTION)


def test_an_absent_workspace_is_not_an_absent_connection(project: ReleaseProject) -> None:
    settings = project.configure().model_copy()
    assert settings.azure is not None
    project.settings = settings.model_copy(update={"azure": settings.azure.model_copy(update={"workspace": "other"})})
    with pytest.raises(ConfigurationError, match=r"orkspace.*other.* was not found"):
        connections.opened(project.settings, CONNECTION)
    with pytest.raises(ConfigurationError, match=r"orkspace.*other.* was not found"):
        exists(project.session, "team-aoai")


def test_a_secret_is_in_no_message(project: ReleaseProject) -> None:
    connections.create(project.settings, "team-aoai", kind="azure_openai", base_url="http://m.example", key=KEY)
    with pytest.raises(ConfigurationError, match="clear text") as raised:
        connections.opened(project.settings, CONNECTION)
    assert KEY not in f"{raised.value!r}{raised.value}"


@pytest.mark.parametrize("key", [KEY, None], ids=["key", "Entra"])
def test_the_model_proxy_calls_the_workspaces_model(project: ReleaseProject, key: str | None) -> None:
    connections.create(project.settings, "team-aoai", kind="azure_openai", base_url=AOAI, key=key)
    project.cloud.of(Models).deployments["contoso.openai.azure.com"] = {"gpt"}

    async def chat() -> int:
        import aiohttp

        upstream = connections.opened(project.settings, CONNECTION)
        assert isinstance(upstream, Upstream)
        async with ModelProxy({"aoai": upstream}) as proxy, aiohttp.ClientSession() as session:
            body = {"model": "other", "messages": [{"role": "user", "content": "hello"}]}
            async with session.post(f"{proxy.urls['aoai']}/v1/chat/completions", json=body) as answer:
                said = await answer.json()
                assert said.get("choices"), said
                return answer.status

    assert asyncio.run(chat()) == 200
    asked = [each for each in project.cloud.exchanges if "contoso.openai" in each.url]
    assert [each.method for each in asked] == ["POST"]


class Tokens:
    """A credential that numbers its tokens, which live for `seconds`; fails while `broken`."""

    def __init__(self, seconds: int) -> None:
        self.seconds, self.given, self.broken = seconds, 0, False

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        from azure.core.exceptions import ServiceRequestError

        assert scopes == ("https://cognitiveservices.azure.com/.default",)
        if self.broken:
            raise ServiceRequestError("no route to host")
        self.given += 1
        return AccessToken(f"token-{self.given}", self.given * self.seconds)


def test_a_token_is_kept_until_shortly_before_its_end_however_many_ask() -> None:
    now, tokens = [0.0], Tokens(1000)
    signed_in = connections.SignedIn(tokens, now=lambda: now[0])  # type: ignore[arg-type]

    async def ask(count: int) -> set[str]:
        headers = await asyncio.gather(*(signed_in() for _ in range(count)))
        return {each["Authorization"] for each in headers}

    assert asyncio.run(ask(20)) == {"Bearer token-1"}
    now[0] = 699
    assert asyncio.run(ask(2)) == {"Bearer token-1"}
    now[0] = 701
    assert asyncio.run(ask(20)) == {"Bearer token-2"}
    assert tokens.given == 2


def test_a_sign_in_that_fails_is_an_error_of_ours() -> None:
    tokens = Tokens(1000)
    tokens.broken = True
    with pytest.raises(PlatformUnavailable, match="sign in for model calls"):
        asyncio.run(connections.SignedIn(tokens)())  # type: ignore[arg-type,arg-type]
