"""The environment variables by which a container knows where it is and which connections it gets. No secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from orchestration.candidates import read_manifest
from orchestration.errors import ConfigurationError, Place
from orchestration.platforms.azure.deployment_files import need_candidate
from orchestration.platforms.base import OnlineDeployment
from orchestration.settings import Settings
from orchestration.settings.azure import OWN
from orchestration.settings.azure_account import azure_section, workspace_id
from orchestration.values import Json

UNESCAPED: Final = (",", "=")
MOUNT: Final = "/var/azureml-app/azureml-models"  # where Azure ML mounts <name>/<version>/<the uploaded folder>


def variables(settings: Settings, wanted: OnlineDeployment, *, concurrency: object, client_id: str) -> dict[str, str]:
    """The variables of one online deployment: blue's are not green's. Raises `ConfigurationError`."""
    found = {"PRT_CONFIG_OVERRIDE": place(settings, wanted)}
    if client_id:
        found["AZURE_CLIENT_ID"] = client_id
    if azure_section(settings).image != OWN:
        return found | _of_promptflow(settings, wanted)
    found["SLUICE_CONNECTIONS"] = json.dumps(_connections(settings, wanted), sort_keys=True)
    found["SLUICE_CONCURRENCY"] = str(concurrency)
    found["SLUICE_CONTENT"] = wanted.model.content_hash
    return found | ({"SLUICE_VARIANT": wanted.variant} if wanted.variant else {})


def place(settings: Settings, wanted: OnlineDeployment) -> str:
    """`PRT_CONFIG_OVERRIDE`: workspace, endpoint and this deployment. Raises `ConfigurationError`: it can't be escaped."""
    workspace = workspace_id(settings)
    parts = {
        "subscription_id": (workspace.subscription_id, settings.at("azure", "subscription_id")),
        "resource_group": (workspace.resource_group, settings.at("azure", "resource_group")),
        "workspace_name": (workspace.workspace, settings.at("azure", "workspace")),
        "endpoint_name": (wanted.endpoint, settings.at("endpoint", "name")),
        "deployment_name": (wanted.name, None),
    }
    for key, (value, at) in parts.items():
        _check(key, value, at)
    return ",".join(f"deployment.{key}={value}" for key, (value, _) in parts.items())


def _check(key: str, value: str, at: Place | None) -> None:
    if any(sign in value for sign in UNESCAPED):
        message = f"the {key} {value!r} has a ',' or '=', which a container's PRT_CONFIG_OVERRIDE can't hold."
        raise ConfigurationError(message, at=at, cure="Choose another name.")


def _connections(settings: Settings, wanted: OnlineDeployment) -> dict[str, Json]:
    """What the container reads from the workspace, by the prompt flow's own names."""
    return {
        name: {"connection": _workspace_name(settings, name, bound), "model_deployment": bound["model_deployment"]}
        for name, bound in wanted.binding.connections.items()
    }


def _workspace_name(settings: Settings, name: str, bound: Mapping[str, Json]) -> str:
    if bound["kind"] != "workspace":
        message = f"an online deployment on Azure can't use a connection of kind {bound['kind']}."
        cure = f"Next: sluice connections create {name} -e {settings.environment}, and bind it with kind: workspace."
        raise ConfigurationError(message, at=settings.at("connections", name), cure=cure)
    return str(bound["name"])


def _of_promptflow(settings: Settings, wanted: OnlineDeployment) -> dict[str, str]:
    """What prompt flow's own serving reads. It serves the default variants, with the models that the flow names."""
    at, cure = settings.at("azure", "image"), "Write azure.image: own."
    if wanted.variant:
        raise ConfigurationError(f"Microsoft's image can't serve the variant {wanted.variant}.", at=at, cure=cure)
    candidate = need_candidate(settings, prompt_flow=wanted.model.name, content_hash=wanted.model.content_hash)
    framework = read_manifest(candidate.folder).frameworks["flow"]
    if framework != "promptflow":
        raise ConfigurationError(f"Microsoft's image can't serve a flow of kind {framework}.", at=at, cure=cure)
    found = {"PROMPTFLOW_RUN_MODE": "serving"}
    found["PROMPTFLOW_PROJECT_PATH"] = f"{MOUNT}/{wanted.model.name}/{wanted.model.version}/{wanted.model.name}/flow"
    for name, bound in wanted.binding.connections.items():
        if bound["model_deployment"]:
            message = "Microsoft's image calls the model that the prompt flow itself names."
            there = settings.at("connections", name, "model_deployment")
            raise ConfigurationError(message, at=there, cure="Leave model_deployment out, or write azure.image: own.")
        found[name.replace(" ", "_")] = _workspace_name(settings, name, bound)
    return found
