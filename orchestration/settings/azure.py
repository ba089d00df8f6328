"""The schema of `azure:` in `config/*.yaml`: which workspace, who signs in, what serves, how long things may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orchestration.references import Reference, Text
from orchestration.specs import Positive, Spec
from orchestration.validation import CONNECTION, GROUP, IDENTITY, IMAGE, VM_SIZE, WORKSPACE

OWN, SYSTEM = "own", "system"

WorkspaceConnectionName = Annotated[str, Field(pattern=CONNECTION)]


class AzureCredential(Spec):
    """Who signs in to Azure. Named, so that no other login of the machine is used by chance."""

    kind: Literal["cli", "client_secret", "certificate", "workload_identity", "managed_identity", "block"] = Field(
        description="`cli`: whoever ran `az login`; the others are identities of their own."
    )
    tenant_id: Text | None = Field(default=None, description="The directory of the identity.")
    client_id: Text | None = Field(
        default=None, description="The application, or the user-assigned managed identity; its client ID."
    )
    client_secret: Reference | None = Field(default=None, description="`client_secret`: where it is kept.")
    certificate: str | None = Field(
        default=None, min_length=1, description="`certificate`: a PEM or PKCS12 file with its private key."
    )
    name: str | None = Field(
        default=None, pattern=r"^[a-z0-9-]+$", description="`block`: name of an AzureML Credentials block in Prefect."
    )


class AzureDeadlines(Spec):
    """How long Azure may take, in seconds; after that a step fails and says what it waited for."""

    endpoint: Positive = Field(default=1200, description="An endpoint, until it is created or changed.")
    deployment: Positive = Field(default=3600, description="An online deployment, its image included.")
    access: Positive = Field(default=900, description="A role assignment, until Azure knows of it everywhere.")
    removal: Positive = Field(default=1800, description="A removal, until the resource is gone.")


class InstanceDeadlines(Spec):
    """How long the parts of an evaluation on a compute instance may take, in seconds."""

    instance: Positive = Field(default=1800, description="The compute instance, until it runs.")
    runtime: Positive = Field(default=1200, description="The runtime on it, until it is ready.")
    run: Positive = Field(default=3600, description="Each of the two runs: the prompt flow's, the evaluation flow's.")


class InstanceSettings(Spec):
    """The compute instance of `place: compute-instance`: made for one evaluation, removed after it."""

    vm_size: str = Field(default="Standard_DS1_v2", pattern=VM_SIZE, description="Its size.")
    idle_minutes: Annotated[int, Field(ge=15, le=4320)] = Field(
        default=30, description="It stops by itself when it was idle for that long: the bound if nobody removes it."
    )
    deadlines: InstanceDeadlines = Field(default=InstanceDeadlines(), description="How long its parts may take.")


class AzureSettings(Spec):
    """The Azure Machine Learning workspace of an environment with `platform: azure`."""

    subscription_id: Text = Field(description="The subscription's ID, or a reference to it.")
    resource_group: str = Field(pattern=GROUP, description="The workspace's resource group.")
    workspace: str = Field(pattern=WORKSPACE, description="The workspace's name.")
    credential: AzureCredential = Field(description="Who signs in.")
    image: str = Field(
        default=OWN,
        pattern=IMAGE,
        description="What serves: `own` is built from the prompt flow's lock; Microsoft's image gets no updates.",
    )
    endpoint_identity: str = Field(
        default=SYSTEM, pattern=IDENTITY, description="The endpoint's identity: its own, or a user-assigned one."
    )
    grant_access: bool = Field(
        default=True,
        description="Let the endpoint's identity read the workspace's connections; false: an administrator does.",
    )
    poll_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        default=10, description="How often a change that is under way is asked for."
    )
    deadlines: AzureDeadlines = Field(default=AzureDeadlines(), description="How long Azure may take.")
    compute_instance: InstanceSettings = Field(
        default=InstanceSettings(), description="What `place: compute-instance` runs on."
    )
    tracking_uri: str | None = Field(
        default=None, min_length=1, description="An MLflow server for decisions; by default the workspace's own."
    )
