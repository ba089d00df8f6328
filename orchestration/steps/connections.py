"""The connections of an environment: what each is, whether its key is found, and whether it really answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.connections import descriptions, upstreams
from orchestration.errors import ConfigurationError, PlatformError
from orchestration.model_proxy import ModelProxy, Upstream
from orchestration.platforms import open_connections
from orchestration.references import Reference
from orchestration.settings import Connection, Settings, bind
from orchestration.specs import Gate, PromptFlowSpec, Sample
from orchestration.validation import nearest
from orchestration.values import Binding, Json

PATIENCE_SECONDS = 20.0
PLACE = ("workspace", "name")  # of a connection whose address stands in a workspace
TINY = {"messages": [{"role": "user", "content": "Say hello."}]}
# Newer models want the second name, and reasoning models can't do with a single token.
LIMITS: tuple[Mapping[str, int], ...] = ({"max_tokens": 1}, {"max_completion_tokens": 16})


@dataclass(frozen=True, slots=True)
class Described:
    """A connection without its secrets. `problem` says why it can't be used, if it can't."""

    name: str
    kind: str
    address: str
    model_deployment: str
    key: str
    problem: str

    @property
    def resolves(self) -> bool:
        return not self.problem


@dataclass(frozen=True, slots=True)
class Checked:
    """What a connection answered to one tiny request."""

    name: str
    model: str
    seconds: float
    tokens: int | None


def find(settings: Settings, name: str) -> Connection:
    """The connection of that name. Raises `ConfigurationError` with the nearest one."""
    if name not in settings.connections:
        cure = nearest(name, settings.connections) or f"Next: sluice connections create {name}"
        raise ConfigurationError(f"{settings.environment} has no connection {name!r}.", cure=cure)
    return settings.connections[name]


def describe(settings: Settings, name: str) -> Described:
    """What a connection is here, and whether all of it can be resolved."""
    connection = find(settings, name)
    address, problem = "", ""
    try:
        binding = _binding(settings, name)
        bound = binding.connections[name]
        address = str(bound.get("api_base") or "/".join(str(bound[part]) for part in PLACE if bound.get(part)))
        upstreams(settings, binding)
        descriptions(settings, binding)
    except ConfigurationError as error:
        problem = str(error)
    return Described(
        name, connection.kind, address or _shown(connection.api_base), connection.model_deployment or "",
        ", ".join(_keys(connection)), problem,
    )  # fmt: skip


def check(settings: Settings, name: str, *, model: str | None = None) -> Checked:
    """Send one tiny request the way prompt flows do, through the model proxy; `custom` ones are only resolved.

    Raises `ConfigurationError` for what can't be resolved, `PlatformError` with the provider's answer.
    """
    connection = find(settings, name)
    binding = _binding(settings, name)
    descriptions(settings, binding)
    upstream = open_connections(settings, binding)[name]
    if not isinstance(upstream, Upstream):
        return Checked(name, "", 0.0, None)
    asked = model or connection.model_deployment or ("any" if connection.kind == "offline" else "")
    if not asked:
        message = f"the connection {name!r} names no model: the prompt flows do that."
        raise ConfigurationError(message, cure="Name one with --model.")
    return asyncio.run(_ask(name, upstream, asked))


def address(settings: Settings, name: str) -> str:
    """Where its calls go; empty for custom keys. Raises `ConfigurationError` and `PlatformError`."""
    found = open_connections(settings, _binding(settings, name))[name]
    return found.base_url if isinstance(found, Upstream) else ""


def _binding(settings: Settings, name: str) -> Binding:
    only = PromptFlowSpec(connections=(name,), gate=Gate(), sample=Sample(inputs={}, answer={}))
    return bind(settings, only)


def _keys(connection: Connection) -> Iterator[str]:
    """Where the secrets are kept; never what they are."""
    if connection.kind == "workspace":
        yield "the workspace"
    if connection.api_key is not None:
        yield str(connection.api_key)
    for name, reference in connection.secrets.items():
        yield f"{name} from {reference}"


def _shown(address: str | Reference | None) -> str:
    return "" if address is None else str(address)


async def _ask(name: str, upstream: Upstream, model: str) -> Checked:
    import aiohttp  # noqa: PLC0415 - a third of a second that `list` doesn't need

    began = time.monotonic()
    proxy = ModelProxy(
        {name: upstream}, limit_deadline_seconds=PATIENCE_SECONDS, retry_deadline_seconds=PATIENCE_SECONDS
    )
    async with proxy, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3 * PATIENCE_SECONDS)) as session:
        for limit in LIMITS:
            body = {"model": model, **TINY, **limit}
            async with session.post(f"{proxy.urls[name]}/v1/chat/completions", json=body) as answer:
                status, text = answer.status, await answer.text()
            if not (status == 400 and "max_tokens" in text):  # the other name for the limit may do
                break
    if status != 200:
        raise PlatformError(f"The connection {name!r} answered {status}: {_said(text)}", cure=_cure(status))
    return _checked(name, model, text, time.monotonic() - began)


def _checked(name: str, model: str, text: str, seconds: float) -> Checked:
    try:
        said = json.loads(text)
        answered, used = str(said.get("model") or model), (said.get("usage") or {}).get("total_tokens")
        said["choices"][0]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        message = f"The connection {name!r} answered 200, but with no chat completion: {text[:200]}"
        raise PlatformError(message, cure="Check the address.") from None
    return Checked(name, answered, round(seconds, 3), used)


def _said(text: str) -> str:
    """The provider's own words."""
    try:
        said: Json = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = text
    return " ".join(str(said).split())[:300]


def _cure(status: int) -> str:
    cures: dict[int, str] = {
        401: "Check the key: sluice connections create",
        403: "Check the key and what it may do.",
        404: "Check the address and the name of the model deployment.",
        429: "The provider's limit is used up: try again later.",
    }
    return cures.get(status, "")


def as_row(each: Described) -> dict[str, Any]:
    """A described connection as --json has it."""
    return {
        "name": each.name, "kind": each.kind, "address": each.address, "model_deployment": each.model_deployment,
        "key": each.key, "resolves": each.resolves, "problem": each.problem,
    }  # fmt: skip
