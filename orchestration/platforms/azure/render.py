"""Models, endpoints and online deployments as Azure ML gets them: the user's files, completed by what is released.

The files are Azure ML's own CLI schema and go through azure-ai-ml's own loaders. Names, model, environment, variables
and tags are set as overrides; no file is ever changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestration.platforms.azure import serving_environment
from orchestration.platforms.azure.deployment_files import Document, find_candidate, need_candidate, read_document
from orchestration.platforms.azure.variables import variables
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.settings import Settings
from orchestration.settings.azure import OWN, SYSTEM
from orchestration.settings.azure_account import azure_section
from orchestration.tracking.model_folder import write_model_folder
from orchestration.values import Candidate, Json

if TYPE_CHECKING:
    from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint, Model

    from orchestration.platforms.azure.workspace import Session

MANIFEST: Final = "manifest"  # the tag of a model version: sha256 of its manifest
VERSION_LENGTH: Final = 16  # of the content hash
PROBE: Final = {"initial_delay": 10, "period": 10, "timeout": 2, "success_threshold": 1, "failure_threshold": 30}
MODEL: Final[Mapping[str, Any]] = {"type": "custom_model"}
ENDPOINT: Final[Mapping[str, Any]] = {"auth_mode": "key"}
DEPLOYMENT: Final[Mapping[str, Any]] = {
    "instance_type": "Standard_DS3_v2",
    "instance_count": 1,
    "app_insights_enabled": False,
    # Azure's own defaults, 5 s and one request at a time, are not for flows that wait for a model.
    "request_settings": {"request_timeout_ms": 90_000, "max_concurrent_requests_per_instance": 16},
    "liveness_probe": PROBE,
    "readiness_probe": PROBE,
}
MODEL_KEYS: Final = ("name", "version", "type", "path", "description", "tags", "properties", "stage", "flavors")
ENDPOINT_KEYS: Final = ("name", "description", "tags", "properties", "auth_mode", "public_network_access", "identity")
DEPLOYMENT_KEYS: Final = (
    *("name", "endpoint_name", "description", "tags", "properties", "model", "environment", "environment_variables"),
    *("type", "instance_type", "instance_count", "app_insights_enabled", "request_settings", "scale_settings"),
    *("liveness_probe", "readiness_probe", "model_mount_path", "egress_public_network_access", "data_collector"),
)
# Keys of the CLI's schema that would work against the release, with the reason.
NOT_MODEL: Final = {"datastore": "the workspace's default one is used"}
NOT_ENDPOINT: Final = {
    "compute": "endpoints on Kubernetes are not supported",
    "traffic": "the release moves the traffic, step by step",
    "mirror_traffic": "the release moves the traffic, step by step",
}
NOT_DEPLOYMENT: Final = {
    "code_configuration": "the image serves the prompt flow, so there is no scoring script",
    "model_mount_path": "the container looks where Azure ML mounts a model by default",
}


@contextmanager
def model(settings: Settings, candidate: Candidate) -> Iterator[Model]:
    """The model of a candidate, with its files in a folder that is removed afterwards.

    The folder has the prompt flow's name, which is where a container finds it, and holds what was judged, byte for
    byte. Raises `PlatformError` if the snapshot was changed since.
    """
    from azure.ai.ml import load_model  # noqa: PLC0415 - takes a second

    document = read_document(candidate, "model", environment=settings.environment, defaults=MODEL)
    _check(document, NOT_MODEL, {"type": "custom_model"})
    with tempfile.TemporaryDirectory(prefix="sluice-model-") as temporary:
        folder = Path(temporary) / candidate.prompt_flow
        values: dict[str, Any] = {"name": candidate.prompt_flow, "version": candidate.content_hash[:VERSION_LENGTH]}
        values |= {"path": str(folder), "tags": _tags(document, {MANIFEST: write_model_folder(candidate, folder)})}
        yield document.load(load_model, values, keys=MODEL_KEYS)


def endpoint(settings: Settings, wanted: Endpoint) -> ManagedOnlineEndpoint:
    """An endpoint. Its files are those of the prompt flow's latest candidate: it is made once, for all that follow."""
    from azure.ai.ml import load_online_endpoint  # noqa: PLC0415 - takes a second

    candidate = find_candidate(settings, prompt_flow=wanted.tags.get("prompt_flow", ""))
    document = read_document(candidate, "endpoint", environment=settings.environment, defaults=ENDPOINT)
    _check(document, NOT_ENDPOINT, {})
    values = {"name": wanted.name, "tags": _tags(document, wanted.tags), "identity": _identity(settings)}
    loaded: ManagedOnlineEndpoint = document.load(load_online_endpoint, values, keys=ENDPOINT_KEYS)
    return loaded


def deployment(settings: Settings, wanted: OnlineDeployment, *, client_id: str = "") -> ManagedOnlineDeployment:
    """An online deployment, but for its environment, which `environment` registers.

    `client_id` is that of the endpoint's user-assigned identity, if it has one.
    """
    from azure.ai.ml import load_online_deployment  # noqa: PLC0415 - takes a second

    document = _deployment_document(settings, wanted)
    values = _deployment_values(settings, wanted, document, client_id=client_id)
    loaded: ManagedOnlineDeployment = document.load(load_online_deployment, values, keys=DEPLOYMENT_KEYS)
    return loaded


def described(settings: Settings, wanted: OnlineDeployment, *, client_id: str = "") -> dict[str, Json]:
    """What `deployment` will send, in the CLI's schema, with the environment's name. No secrets."""
    document = _deployment_document(settings, wanted)
    values = _deployment_values(settings, wanted, document, client_id=client_id)
    serving = _serving(settings, wanted)
    return document.with_values({**values, "environment": f"azureml:{serving.name}:{serving.version}"})


def environment(session: Session, settings: Settings, wanted: OnlineDeployment) -> str:
    """The ARM id of the environment that serves this deployment, registered if it isn't there yet."""
    return serving_environment.register(session, _serving(settings, wanted), tags={})


def _serving(settings: Settings, wanted: OnlineDeployment) -> serving_environment.ServingEnvironment:
    image = azure_section(settings).image
    if image != OWN:
        return serving_environment.environment("", image=image)
    candidate = need_candidate(settings, prompt_flow=wanted.model.name, content_hash=wanted.model.content_hash)
    return serving_environment.environment((candidate.folder / "lock.txt").read_text(encoding="utf-8"))


def _deployment_document(settings: Settings, wanted: OnlineDeployment) -> Document:
    candidate = need_candidate(settings, prompt_flow=wanted.model.name, content_hash=wanted.model.content_hash)
    document = read_document(candidate, "deployment", environment=settings.environment, defaults=DEPLOYMENT)
    _check(document, NOT_DEPLOYMENT, {"type": "managed"})
    if _mapping(document, "scale_settings").get("type", "default") != "default":
        raise document.refuse(
            ("scale_settings", "type"),
            "managed endpoints scale by rules of Azure Monitor, not by this file.",
            "Remove scale_settings; deployments/README.md says where the rules go.",
        )
    return document


def _deployment_values(
    settings: Settings, wanted: OnlineDeployment, document: Document, *, client_id: str
) -> dict[str, Any]:
    given = _texts(document, "environment_variables")
    concurrency = _mapping(document, "request_settings").get("max_concurrent_requests_per_instance", 1)
    own = variables(settings, wanted, concurrency=concurrency, client_id=client_id)
    return {
        "name": wanted.name,
        "endpoint_name": wanted.endpoint,
        "model": f"azureml:{wanted.model.name}:{wanted.model.version}",
        "environment_variables": {**given, **own},
        "tags": _tags(document, wanted.tags),
    }


def _check(document: Document, reasons: Mapping[str, str], only: Mapping[str, str]) -> None:
    """Refuse keys that would work against the release, and values that it can't work with."""
    for key, reason in reasons.items():
        if key in document.data:
            raise document.refuse((key,), f"can't stand here: {reason}.", "Remove it.")
    for key, value in only.items():
        found = document.data.get(key, value)
        if str(found).lower() != value:
            raise document.refuse((key,), f"is {found!r}, and only {value!r} works here.", f"Write {key}: {value}.")


def _tags(document: Document, own: Mapping[str, str]) -> dict[str, str]:
    return {**_texts(document, "tags"), **own}


def _texts(document: Document, key: str) -> dict[str, str]:
    """A mapping of the file whose values Azure wants as text."""
    found = _mapping(document, key)
    for name, value in found.items():
        if not isinstance(value, str):
            raise document.refuse((key, name), "must be text.", f'Write "{value}".' if value is not None else "")
    return dict(found)


def _mapping(document: Document, key: str) -> Mapping[str, Any]:
    found = document.data.get(key) or {}
    if not isinstance(found, Mapping):
        raise document.refuse((key,), "must be keys with values.")
    return found


def _identity(settings: Settings) -> dict[str, Any]:
    identity = azure_section(settings).endpoint_identity
    if identity == SYSTEM:
        return {"type": "system_assigned"}
    return {"type": "user_assigned", "user_assigned_identities": [{"resource_id": identity}]}
