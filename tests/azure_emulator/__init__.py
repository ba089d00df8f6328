"""An emulator of the parts of Azure that the azure platform uses, for unchanged clients behind a forward proxy.

`with Cloud(scenario, clock) as cloud:` starts one; `cloud.environment()` leads clients to it. A service is a module
with `install(cloud)`.
"""

from __future__ import annotations

from . import (
    blob,
    computes,
    containers,
    entra,
    identities,
    limits,
    machine_learning,
    mlflow,
    models,
    prompt_flow,
    relay,
    scoring,
)
from .clock import Clock, RealClock, VirtualClock
from .cloud import Cloud
from .scenario import Scenario

__all__ = ["Clock", "Cloud", "RealClock", "Scenario", "VirtualClock", "emulator"]


def emulator(scenario: Scenario | None = None, clock: Clock | None = None, *, region: str = "westeurope") -> Cloud:
    """A cloud with every service installed, not yet started."""
    cloud = Cloud(scenario, clock, region=region)
    for service in (
        relay,
        entra,
        identities,
        limits,
        computes,
        blob,
        containers,
        machine_learning,
        scoring,
        mlflow,
        models,
        prompt_flow,
    ):
        service.install(cloud)
    return cloud
