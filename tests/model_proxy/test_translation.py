from __future__ import annotations

import json
from typing import Any

import pytest

from orchestration.model_proxy.translate import DEFAULT_API_VERSION, Untranslatable, translate
from orchestration.model_proxy.upstream import Upstream

AZURE = Upstream("azure_openai", "https://a.example/", api_version="2025-01-01", deployment="real")
AZURE_AS_ASKED = Upstream("azure_openai", "https://a.example")
OPENAI = Upstream("openai", "https://o.example/v1", deployment="real")
OPENAI_AS_ASKED = Upstream("openai", "https://o.example/v1/")
OLLAMA = Upstream("openai", "http://localhost:11434")

CHAT_AZURE = "/openai/deployments/asked/chat/completions"
CHAT_OPENAI = "/v1/chat/completions"
BODY = {"model": "asked", "messages": [{"role": "user", "content": "é\u2028"}]}


def sent(upstream: Upstream, path: str, query: str = "", body: dict[str, Any] | None = None) -> tuple[str, Any]:
    raw = json.dumps(BODY if body is None else body).encode()
    target = translate(upstream, path, query, raw, is_json=True)
    return target.url, json.loads(target.body)


@pytest.mark.parametrize(
    ("upstream", "path", "query", "url", "model"),
    [
        (
            AZURE,
            CHAT_AZURE,
            "api-version=2024-02-01",
            "https://a.example/openai/deployments/real/chat/completions?api-version=2025-01-01",
            "asked",
        ),
        (
            AZURE,
            CHAT_OPENAI,
            "",
            "https://a.example/openai/deployments/real/chat/completions?api-version=2025-01-01",
            "asked",
        ),
        (
            AZURE_AS_ASKED,
            CHAT_AZURE,
            "api-version=2024-02-01",
            "https://a.example/openai/deployments/asked/chat/completions?api-version=2024-02-01",
            "asked",
        ),
        (
            AZURE_AS_ASKED,
            CHAT_OPENAI,
            "",
            f"https://a.example/openai/deployments/asked/chat/completions?api-version={DEFAULT_API_VERSION}",
            "asked",
        ),
        (AZURE, "/v1/responses", "", "https://a.example/openai/v1/responses", "real"),
        (AZURE, "/openai/v1/responses", "", "https://a.example/openai/v1/responses", "real"),
        (AZURE, "/openai/models", "", "https://a.example/openai/models?api-version=2025-01-01", "asked"),
        (OPENAI, CHAT_OPENAI, "", "https://o.example/v1/chat/completions", "real"),
        (OPENAI, CHAT_AZURE, "api-version=2024-02-01", "https://o.example/v1/chat/completions", "real"),
        (OPENAI_AS_ASKED, CHAT_OPENAI, "", "https://o.example/v1/chat/completions", "asked"),
        (OPENAI_AS_ASKED, "/openai/deployments/a%2Fb/embeddings", "", "https://o.example/v1/embeddings", "a/b"),
        (OPENAI, "/v1/files", "limit=2&api-version=1", "https://o.example/v1/files?limit=2", "real"),
        (OLLAMA, CHAT_OPENAI, "", "http://localhost:11434/v1/chat/completions", "asked"),
        (OLLAMA, CHAT_AZURE, "api-version=1", "http://localhost:11434/v1/chat/completions", "asked"),
    ],
)
def test_each_shape_reaches_each_provider(upstream: Upstream, path: str, query: str, url: str, model: str) -> None:
    found, body = sent(upstream, path, query)
    assert found == url
    assert body == BODY | {"model": model}


def test_what_needs_no_change_is_passed_byte_for_byte() -> None:
    raw = b'{ "model":"asked" ,"temperature":1e0}'
    assert translate(OPENAI_AS_ASKED, CHAT_OPENAI, "", raw, is_json=True).body is raw
    assert translate(AZURE, CHAT_AZURE, "", raw, is_json=True).body is raw
    assert translate(OPENAI, "/v1/audio/transcriptions", "", raw, is_json=False).body is raw


def test_the_model_that_was_asked_for_is_known() -> None:
    assert translate(OPENAI, CHAT_AZURE, "", b"{}", is_json=True).asked == "asked"
    assert translate(OPENAI_AS_ASKED, CHAT_OPENAI, "", json.dumps(BODY).encode(), is_json=True).asked == "asked"
    assert translate(OPENAI_AS_ASKED, "/v1/models", "", b"", is_json=False).asked == ""


@pytest.mark.parametrize(
    ("upstream", "path", "body", "says"),
    [
        (OPENAI, "/admin", b"", "neither below"),
        (OPENAI, "", b"", "neither below"),
        (OPENAI, CHAT_OPENAI, b"{", "not valid JSON"),
        (OPENAI, CHAT_OPENAI, b"[]", "not a JSON object"),
        (AZURE_AS_ASKED, CHAT_OPENAI, b"{}", "names no model"),
    ],
)
def test_what_makes_no_sense_is_refused(upstream: Upstream, path: str, body: bytes, says: str) -> None:
    with pytest.raises(Untranslatable, match=says):
        translate(upstream, path, "", body, is_json=True)
