"""From the path and body that a prompt flow sends to those that its provider understands.

    Azure     /openai/deployments/<name>/<operation>?api-version=...   the path names the model
    OpenAI    /v1/<operation>                                          the body names the model

Either may come in, and the other one may have to go out: just as in the evaluation, so that what was judged is served.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from sluice_runner.azure.connections import Model

API_VERSION = "2024-10-21"  # Azure's stable inference version
AZURE = re.compile(r"/openai/deployments/(?P<name>[^/]+)/(?P<operation>.+)")
OPENAI = re.compile(r"/(?:openai/)?v1/(?P<operation>.+)")
OTHER = re.compile(r"/openai/(?P<operation>.+)")
BY_DEPLOYMENT = frozenset(
    {
        *("chat/completions", "completions", "embeddings"),
        *("audio/speech", "audio/transcriptions", "audio/translations", "images/generations", "images/edits"),
    }
)
MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]+)"')


class Untranslatable(Exception):
    """The request can't be sent on; the message is for the author of the prompt flow."""


def translate(model: Model, path: str, query: str, body: bytes, *, is_json: bool) -> tuple[str, bytes]:
    """Address and body as the provider wants them. Raises `Untranslatable`; `path` begins below the connection's own."""
    azure, openai, other = AZURE.fullmatch(path), OPENAI.fullmatch(path), OTHER.fullmatch(path)
    found = azure or openai or other
    if found is None:
        raise Untranslatable(f"{path} is neither below /openai/ nor below /v1/")
    operation = found["operation"]
    asked = unquote(azure["name"]) if azure else _asked(body) if openai else ""
    if model.kind == "azure_openai":
        return _to_azure(model, operation, asked, query, body, versioned=not openai, is_json=is_json)
    named = model.deployment or (asked if azure else None)
    kept = {name: value for name, value in parse_qsl(query) if name != "api-version"}
    return _address(_openai_base(model.base_url), operation, kept), _with_model(body, named, is_json=is_json)


def _to_azure(
    model: Model, operation: str, asked: str, query: str, body: bytes, *, versioned: bool, is_json: bool
) -> tuple[str, bytes]:
    """`versioned` says that it came in Azure's older shape."""
    base, parameters = model.base_url.removesuffix("/openai") + "/openai", dict(parse_qsl(query))
    dated = {**parameters, "api-version": model.api_version or parameters.get("api-version") or API_VERSION}
    if operation in BY_DEPLOYMENT:
        name = model.deployment or asked
        if not name:
            raise Untranslatable(f"{operation} names no model, and the connection has no deployment")
        return _address(base, f"deployments/{quote(name, safe='')}/{operation}", dated), body
    if versioned:
        return _address(base, operation, dated), body
    return _address(base, f"v1/{operation}", parameters), _with_model(body, model.deployment, is_json=is_json)


def _asked(body: bytes) -> str:
    found = MODEL.search(body)
    return found[1].decode("utf-8", "replace") if found else ""


def _with_model(body: bytes, name: str | None, *, is_json: bool) -> bytes:
    if name is None or not body or not is_json:
        return body
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Untranslatable("the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Untranslatable("the body is not a JSON object")
    return json.dumps({**document, "model": name}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _openai_base(base_url: str) -> str:
    return base_url if urlsplit(base_url).path else f"{base_url}/v1"


def _address(base: str, operation: str, query: Mapping[str, str]) -> str:
    return f"{base}/{operation}?{urlencode(query)}" if query else f"{base}/{operation}"
