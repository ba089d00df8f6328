"""What a binding needs in clear text: where the model proxy sends calls, and the values of custom connections.

Nothing of this is stored, logged or put into an environment: it goes to the model proxy and down the runner's pipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.errors import ConfigurationError
from orchestration.model_proxy.upstream import Prices, Upstream
from orchestration.references import Blocks, Reference, read_environment, resolve
from orchestration.settings import Connection, Settings, describe_connection
from orchestration.settings.checks import is_loopback
from orchestration.values import Binding, Json, sha256

SHOWN = ("kind", "api_base", "workspace", "name")
PLACE = (*SHOWN, "subscription")
ELSEWHERE = frozenset({"custom", "workspace"})  # no model; a platform's own connection, which that platform resolves


@dataclass(frozen=True, slots=True)
class _Vault:
    """Settings with what their references are resolved from."""

    settings: Settings
    env: Mapping[str, str]
    blocks: Blocks | None

    def reveal(self, reference: Reference, *loc: str) -> str:
        """The value in clear text; an error names the place of the reference."""
        at = self.settings.at("connections", *loc)
        return resolve(reference, root=self.settings.root, env=self.env, blocks=self.blocks, at=at).reveal()


def upstreams(
    settings: Settings, binding: Binding, *, env: Mapping[str, str] | None = None, blocks: Blocks | None = None
) -> dict[str, Upstream]:
    """Where the calls of each connection of the binding that leads to a model go, with its key.

    Those of a workspace are left out: `platforms.open_connections` has them too. Raises `ConfigurationError` for a
    key that is missing or can't be resolved.
    """
    vault = _vault(settings, env, blocks)
    models = {name: each for name, each in binding.connections.items() if each["kind"] not in ELSEWHERE}
    return {name: _upstream(vault, name, described) for name, described in models.items()}


def workspace_connections(
    settings: Settings, binding: Binding, *, env: Mapping[str, str] | None = None, blocks: Blocks | None = None
) -> dict[str, Connection]:
    """The connections of the binding that the workspace keeps. Raises `ConfigurationError` if one is another now."""
    vault = _vault(settings, env, blocks)
    kept = {name: each for name, each in binding.connections.items() if each["kind"] == "workspace"}
    return {name: _same_place(vault, name, described) for name, described in kept.items()}


def answers_hash(binding: Binding, opened: Mapping[str, Upstream | Mapping[str, Json]]) -> str:
    """What decides an answer besides content and inputs: the binding, and what it leaves to a workspace.

    A workspace connection that leads to another address is the same binding, but answers from there are not those
    that were stored. `opened` is what `platforms.open_connections` gives; keys are left out, as in a binding.
    """
    kept = {name: opened[name] for name, each in binding.connections.items() if each["kind"] == "workspace"}
    found: dict[str, Json] = {
        name: [each.kind, each.base_url, each.api_version] if isinstance(each, Upstream) else each["values"]
        for name, each in kept.items()
    }
    return sha256({"binding": binding.binding_hash, "workspace": found}) if found else binding.binding_hash


def descriptions(
    settings: Settings, binding: Binding, *, env: Mapping[str, str] | None = None, blocks: Blocks | None = None
) -> dict[str, dict[str, Json]]:
    """The binding's connections as the runner's `open` message has them, but for what the model proxy adds to `llm`.

    Those of type `custom` hold their secrets. One of a workspace is taken for a model's; `platforms.open_connections`
    knows better. Raises `ConfigurationError` for one that can't be resolved.
    """
    vault = _vault(settings, env, blocks)
    return {
        name: _custom(vault, name, described)
        if described["kind"] == "custom"
        else {"type": "llm", "model": described["model_deployment"]}
        for name, described in binding.connections.items()
    }


def _vault(settings: Settings, env: Mapping[str, str] | None, blocks: Blocks | None) -> _Vault:
    return _Vault(settings, read_environment(settings.root) if env is None else env, blocks)


def _upstream(vault: _Vault, name: str, described: Mapping[str, Json]) -> Upstream:
    """What was bound and judged, with the key, rates and prices of today."""
    connection, base = _same_place(vault, name, described), str(described["api_base"] or "")
    version, model, prices = described["api_version"], described["model_deployment"], connection.prices
    assert connection.kind != "custom"
    assert connection.kind != "workspace"
    return Upstream(
        kind=connection.kind,
        base_url=base,
        api_version=str(version) if version else None,
        deployment=str(model) if model else None,
        api_key=_key(vault, name, connection, base),
        requests_per_minute=connection.requests_per_minute,
        tokens_per_minute=connection.tokens_per_minute,
        prices=Prices(**prices.model_dump()) if prices else None,
    )


def _same_place(vault: _Vault, name: str, described: Mapping[str, Json]) -> Connection:
    """The connection as it is set today. Its key is for that address: it is not sent to the one of an old binding."""
    today = describe_connection(vault.settings, name, env=vault.env, blocks=vault.blocks)
    if any(today.get(part) != described.get(part) for part in PLACE):
        was, now = (" ".join(str(each[part]) for part in SHOWN if each.get(part)) for each in (described, today))
        raise ConfigurationError(
            f"the connection {name!r} is {now} now; what is released was judged with {was}.",
            at=vault.settings.at("connections", name),
            cure=f"Release anew: sluice run -e {vault.settings.environment}. Or set it back.",
        )
    return vault.settings.connections[name]


def _key(vault: _Vault, name: str, connection: Connection, base: str) -> str | None:
    """The key; None where none is needed: offline, and a server on this machine."""
    if connection.api_key is not None:
        return vault.reveal(connection.api_key, name, "api_key")
    if connection.kind == "offline" or is_loopback(base):
        return None
    create = f"sluice connections create {name} -e {vault.settings.environment}"
    cure = f"Next: {create}, or set AOAI_API_KEY in .env and write api_key: {{env: AOAI_API_KEY}}."
    raise ConfigurationError(
        f"the connection {name!r} has no key.", at=vault.settings.at("connections", name, "api_key"), cure=cure
    )


def _custom(vault: _Vault, name: str, described: Mapping[str, Json]) -> dict[str, Json]:
    connection = _same_place(vault, name, described)
    secrets: dict[str, Json] = {key: vault.reveal(ref, name, "secrets", key) for key, ref in connection.secrets.items()}
    return {"type": "custom", "values": described["values"], "secrets": secrets}
