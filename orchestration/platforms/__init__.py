"""Where models and endpoints live. Which platform it is, is asked here: steps open it, its connections and its ledger."""

# ruff: noqa: PLC0415 - every import below this package runs this file, a gateway's too: it must cost nothing

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.values import Binding, Json

if TYPE_CHECKING:
    from orchestration.model_proxy import Upstream
    from orchestration.platforms.base import Platform
    from orchestration.platforms.local.platform import LocalPlatform
    from orchestration.platforms.places import CloudRuns, EvaluationPlace
    from orchestration.polling import Clock
    from orchestration.settings import Settings
    from orchestration.tracking import Store


def open_platform(settings: Settings) -> Platform:
    """The platform of an environment. Opening connects to nothing."""
    if settings.platform == "azure":
        from orchestration.platforms.azure.platform import AzurePlatform

        return AzurePlatform(settings)
    return open_local(settings)


def open_place(settings: Settings, *, clock: Clock) -> EvaluationPlace:
    """Where an evaluation runs if not in the worker. Opening connects to nothing. `clock` is what its clients wait by."""
    from orchestration.platforms.azure.test_compute.place import InstancePlace

    return InstancePlace(settings, clock=clock)


def open_runs(settings: Settings, python: Path, *, log: Path, clock: Clock) -> AbstractContextManager[CloudRuns]:
    """Prompt flow's own service in the environment's workspace, by its client in the runtime of `python`."""
    from orchestration.platforms.azure.prompt_flow_service.runs import opened

    return opened(settings, python, log=log, clock=clock)


def open_local(settings: Settings) -> LocalPlatform:
    """This machine as a platform, with the environment's addresses and limits."""
    from orchestration.platforms.local.limits import Limits
    from orchestration.platforms.local.platform import LocalPlatform

    return LocalPlatform(
        settings.state,
        host=settings.endpoint.host,
        port=settings.endpoint.port,
        upstreams=lambda binding: open_connections(settings, binding),
        runtimes=lambda lock: _runtime(settings, lock),
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


def open_connections(settings: Settings, binding: Binding) -> dict[str, Upstream | Mapping[str, Json]]:
    """What a binding's connections need in clear text: an upstream for the model proxy, or a custom connection's values.

    Those of a workspace are asked for there. Raises `ConfigurationError` for one that can't be resolved, and
    `PlatformError` for one that the workspace doesn't give.
    """
    from orchestration.connections import descriptions, upstreams, workspace_connections

    custom = {n: d for n, d in descriptions(settings, binding).items() if d["type"] == "custom"}
    found: dict[str, Upstream | Mapping[str, Json]] = {**custom, **upstreams(settings, binding)}
    for name, connection in workspace_connections(settings, binding).items():
        from orchestration.platforms.azure.connections import opened

        found[name] = opened(settings, connection)
    return found


def open_store(settings: Settings) -> Store:
    """Where decisions and their events are kept. For a workspace's own MLflow its address is asked for, once."""
    if settings.platform == "azure":
        from orchestration.platforms.azure.tracking import open_azure_store

        return open_azure_store(settings)
    from orchestration.tracking import local_store

    return local_store(settings.state)


def _runtime(settings: Settings, lock: str) -> Path:
    from orchestration.runtimes import ensure_runtime

    return ensure_runtime(lock, folder=settings.runtimes, root=settings.root)
