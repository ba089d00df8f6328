"""A model provider as the proxy calls it: where, by which name, with which key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from orchestration.errors import ConfigurationError
from orchestration.values import Json, Tokens

Kind: TypeAlias = Literal["offline", "azure_openai", "openai"]
Authorize: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in any one currency."""

    prompt_per_million: float
    completion_per_million: float

    def of(self, tokens: Tokens) -> float:
        return (tokens.prompt * self.prompt_per_million + tokens.completion * self.completion_per_million) / 1e6


@dataclass(frozen=True, slots=True)
class Upstream:
    """One provider behind one connection. Raises `ConfigurationError` for values that can't work.

    `openai` is any server that speaks OpenAI's API; `offline` is the embedded model, which the proxy starts itself.
    `deployment` replaces the name that the prompt flow asks for; None leaves it. Limits are per minute, if known.
    `authorize` returns the headers that authorise one request, in place of `api_key`: short-lived tokens go here. It
    raises a `SluiceError` if it can't.
    """

    kind: Kind
    base_url: str = ""
    api_version: str | None = None
    deployment: str | None = None
    api_key: str | None = field(default=None, repr=False)
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    prices: Prices | None = None
    authorize: Authorize | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ConfigurationError(f"model provider kind {self.kind!r} is unknown.", cure=f"Use {_one_of_kinds()}.")
        parts = urlsplit(self.base_url)
        if self.kind != "offline" and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ConfigurationError(
                f"model provider address {self.base_url!r} is no http or https address.", cure="Set base_url."
            )
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"{name} is {limit}, must be above 0.", cure="Leave it out if it is unknown.")

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine: nobody else's limits, and no web proxy on the way."""
        return self.kind == "offline" or urlsplit(self.base_url).hostname in _LOOPBACK

    async def headers(self) -> Mapping[str, str]:
        """The headers that authorise a request."""
        if self.authorize is not None:
            return await self.authorize()
        if not self.api_key:
            return {}
        return {"api-key": self.api_key} if self.kind == "azure_openai" else {"Authorization": f"Bearer {self.api_key}"}

    def to_dict(self) -> dict[str, Json]:
        """As JSON data, **with the key**: for private pipes only. `authorize` can't be carried and is left out."""
        names = ("kind", "base_url", "api_version", "deployment", "api_key", "requests_per_minute", "tokens_per_minute")
        data: dict[str, Json] = {name: getattr(self, name) for name in names}
        return data | {"prices": asdict(self.prices) if self.prices else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Upstream:
        """The inverse of `to_dict`; keys may be missing. Raises `ConfigurationError` for unknown ones."""
        values = dict(data)
        prices = values.pop("prices", None)
        try:
            return cls(**values, prices=Prices(**prices) if prices else None)
        except TypeError:
            names = ", ".join(sorted(data))
            raise ConfigurationError(f"these keys don't describe a model provider: {names}.") from None


def _one_of_kinds() -> str:
    *most, last = get_args(Kind)
    return f"{', '.join(most)} or {last}"
