"""From the path and body that a prompt flow sends to those that its provider understands.

Two shapes come in, and the other one may have to go out:

    Azure     /openai/deployments/<name>/<operation>?api-version=…    the path names the model
    OpenAI    /v1/<operation>                                         the body names the model
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from orchestration.model_proxy.upstream import Upstream

DEFAULT_API_VERSION = "2024-10-21"  # Azure's stable inference version

_AZURE = re.compile(r"/openai/deployments/(?P<name>[^/]+)/(?P<operation>.+)")
_OPENAI = re.compile(r"/(?:openai/)?v1/(?P<operation>.+)")
_OTHER = re.compile(r"/openai/(?P<operation>.+)")
_BY_DEPLOYMENT = frozenset(
    {
        *("chat/completions", "completions", "embeddings"),
        *("audio/speech", "audio/transcriptions", "audio/translations", "images/generations", "images/edits"),
    }
)
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]+)"')


class Untranslatable(Exception):
    """The request can't be sent on; the message says why, for the author of the prompt flow."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to send: the full address, the body, and the model that the prompt flow asked for (may be empty)."""

    url: str
    body: bytes
    asked: str


def translate(upstream: Upstream, path: str, query: str, body: bytes, *, is_json: bool) -> Target:
    """The request as `upstream` wants it. Raises `Untranslatable`; `path` starts below the connection's address."""
    azure, openai, other = _AZURE.fullmatch(path), _OPENAI.fullmatch(path), _OTHER.fullmatch(path)
    if azure:
        asked, operation = unquote(azure["name"]), azure["operation"]
    elif openai:
        asked, operation = _asked(body), openai["operation"]
    elif other:
        asked, operation = "", other["operation"]
    else:
        raise Untranslatable(f"{path} is neither below /openai/ nor below /v1/")
    if upstream.kind == "azure_openai":
        return _to_azure(upstream, Target(operation, body, asked), query, versioned=not openai, is_json=is_json)
    named = upstream.deployment or (asked if azure else None)
    url = _address(_openai_base(upstream.base_url), operation, _without_version(query))
    return Target(url, _with_model(body, named) if is_json else body, asked)


def _to_azure(upstream: Upstream, request: Target, query: str, *, versioned: bool, is_json: bool) -> Target:
    """`request.url` is the operation alone; `versioned` says that it came in Azure's older shape."""
    operation, body, asked = request.url, request.body, request.asked
    base = upstream.base_url.rstrip("/").removesuffix("/openai") + "/openai"
    if operation in _BY_DEPLOYMENT:
        name = upstream.deployment or asked
        if not name:
            raise Untranslatable(f"{operation} names no model, and the connection has no deployment")
        place = f"deployments/{quote(name, safe='')}/{operation}"
        return Target(_address(base, place, _with_version(upstream, query)), body, asked)
    if versioned:
        return Target(_address(base, operation, _with_version(upstream, query)), body, asked)
    body = _with_model(body, upstream.deployment) if is_json else body
    return Target(_address(base, f"v1/{operation}", query), body, asked)


def _asked(body: bytes) -> str:
    """The model that a body names; read without parsing, for requests that pass unchanged."""
    found = _MODEL.search(body)
    return found[1].decode("utf-8", "replace") if found else ""


def _with_model(body: bytes, name: str | None) -> bytes:
    """The JSON body with another model, or the very same bytes if nothing changes."""
    if name is None or not body:
        return body
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Untranslatable("the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Untranslatable("the body is not a JSON object")
    if document.get("model") == name:
        return body
    return json.dumps({**document, "model": name}, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _openai_base(base_url: str) -> str:
    base = base_url.rstrip("/")
    return base if urlsplit(base).path else f"{base}/v1"


def _with_version(upstream: Upstream, query: str) -> str:
    parameters = dict(parse_qsl(query))
    version = upstream.api_version or parameters.get("api-version") or DEFAULT_API_VERSION
    return _encoded({**parameters, "api-version": version})


def _without_version(query: str) -> str:
    if not query:
        return ""
    return _encoded({name: value for name, value in parse_qsl(query) if name != "api-version"})


def _encoded(parameters: Mapping[str, str]) -> str:
    return urlencode(parameters)


def _address(base: str, operation: str, query: str) -> str:
    return f"{base}/{operation}?{query}" if query else f"{base}/{operation}"
