"""Azure Machine Learning, as Azure Resource Manager shows it: workspaces and what lies in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import assets, connections, datastores, deployments, endpoints, workspaces
from .workspaces import Workspace, add_workspace

if TYPE_CHECKING:
    from ..cloud import Cloud

__all__ = ["Workspace", "add_workspace", "install"]


def install(cloud: Cloud) -> None:
    """Teach the store all types but computes."""
    for module in (workspaces, datastores, connections, assets, endpoints, deployments):
        module.install(cloud)
