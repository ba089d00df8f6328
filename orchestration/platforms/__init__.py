"""Where models and endpoints live. `open_platform` is the only place that asks which platform it is."""

# ruff: noqa: PLC0415 - every import below this package runs this file, a gateway's too: it must cost nothing

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.values import Binding, Json

if TYPE_CHECKING:
    from orchestration.model_proxy import Upstream
    from orchestration.platforms.base import Platform
    from orchestration.platforms.local.platform import LocalPlatform
    from orchestration.settings import Settings


def open_platform(settings: Settings) -> Platform:
    """The platform of an environment. Opening connects to nothing."""
    return open_local(settings)


def open_local(settings: Settings) -> LocalPlatform:
    """This machine as a platform, with the environment's addresses and limits."""
    from orchestration.platforms.local.limits import Limits
    from orchestration.platforms.local.platform import LocalPlatform

    return LocalPlatform(
        settings.state,
        host=settings.endpoint.host,
        port=settings.endpoint.port,
        upstreams=lambda binding: _connections(settings, binding),
        limits=Limits(
            start_seconds=settings.rollout.ready_timeout_seconds, drain_seconds=settings.rollout.drain_seconds
        ),
    )


def stop_endpoints(state: Path, *, say: Callable[[str], None], names: Collection[str] | None = None) -> list[str]:
    """Drain and end every endpoint of this machine that belongs to `state`, or those named; the names of those that ran."""
    from orchestration.platforms.local.launch import stop_all

    ended = stop_all(state, names=names)
    for name in ended:
        say(f"Ended endpoint {name}")
    return ended


def _connections(settings: Settings, binding: Binding) -> dict[str, Upstream | Mapping[str, Json]]:
    from orchestration.connections import descriptions, upstreams

    custom = {n: d for n, d in descriptions(settings, binding).items() if d["type"] == "custom"}
    return {**custom, **upstreams(settings, binding)}
