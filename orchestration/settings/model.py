"""The schema of `config/*.yaml`: every key with its bounds and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator

from orchestration.errors import Place
from orchestration.references import Reference, Text
from orchestration.settings.azure import AzureSettings, WorkspaceConnectionName
from orchestration.settings.layers import Layers
from orchestration.specs import Positive, Ratio, Rule, Spec
from orchestration.validation import NAME
from orchestration.values import Binding

Name = Annotated[str, Field(pattern=NAME)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class Prices(Spec):
    """What a model costs, in one currency."""

    prompt_per_million: float = Field(ge=0, description="Price of a million prompt tokens.")
    completion_per_million: float = Field(ge=0, description="Price of a million completion tokens.")


class Connection(Spec):
    """What a prompt flow's connection name stands for in this environment.

    An entry that names its `kind` replaces the whole entry of the same name in `config/base.yaml`.
    """

    kind: Literal["offline", "azure_openai", "openai", "workspace", "custom"] = Field(
        description="`offline` answers on this machine without any account; `openai` is any compatible address; "
        "`workspace` is kept by the Azure Machine Learning workspace."
    )
    name: WorkspaceConnectionName | None = Field(
        default=None, description="`workspace`: the connection's name in the workspace."
    )
    api_base: Text | None = Field(default=None, description="Address of the model provider.")
    api_version: str | None = Field(default=None, description="Azure OpenAI's api-version; 2024-10-21 by default.")
    api_key: Reference | None = Field(default=None, description="Where the key is kept; never the key itself.")
    model_deployment: str | None = Field(
        default=None, description="Model or Azure deployment to call instead of the one that the prompt flow names."
    )
    requests_per_minute: int | None = Field(default=None, ge=1, description="Rate limit; by default the provider's.")
    tokens_per_minute: int | None = Field(default=None, ge=1, description="Rate limit; by default the provider's.")
    prices: Prices | None = Field(default=None, description="For `max_price` and `cost_per_row`.")
    values: dict[str, str] = Field(default_factory=dict, description="`custom`: values that are no secrets.")
    secrets: dict[str, Reference] = Field(default_factory=dict, description="`custom`: where its secrets are kept.")


class EvaluationSettings(Spec):
    """How rows are evaluated."""

    in_flight: int = Field(default=16, ge=1, le=512, description="Most rows in flight.")
    row_timeout_seconds: Positive = Field(default=60, description="A row that takes longer has failed.")
    deadline_seconds: Positive = Field(default=3600, description="The whole evaluation.")
    limit_deadline_seconds: Positive = Field(
        default=600, description="How long one model call may wait for the provider's rate limit."
    )
    max_tokens: int | None = Field(default=None, ge=1, description="Spending ceiling of one evaluation, in tokens.")
    max_price: float | None = Field(default=None, gt=0, description="Spending ceiling, in the currency of `prices`.")


class Floors(Spec):
    """What no prompt flow's own gate may fall below in this environment."""

    min_rows: int | None = Field(default=None, ge=1, description="Fewer expected rows give INCONCLUSIVE.")
    max_failed_ratio: Ratio | None = Field(default=None, description="More failed rows than this give BROKEN.")
    rules: tuple[Rule, ...] = Field(default=(), description="Rules that must hold in addition.")


class Rollout(Spec):
    """How traffic moves to a new online deployment."""

    steps: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        default=(10, 50, 100), description="Percent of the traffic, step by step; increasing, the last is 100."
    )
    step_seconds: Seconds = Field(default=30, description="How long a step is watched before the next.")
    ready_timeout_seconds: Positive = Field(default=120, description="For a new online deployment to become healthy.")
    drain_seconds: Seconds = Field(default=30, description="How long an old one may finish its requests.")
    hold_seconds: Positive = Field(default=1800, description="How long a release waits for another one's end.")
    probes: int = Field(
        default=5, ge=1, description="Sample requests of our own in each step; answers need the sample's shape."
    )
    min_requests: int = Field(default=0, ge=0, description="Requests that a step must have seen to be judged.")
    max_error_ratio: Ratio = Field(default=0.0, description="More failed requests than this roll back.")
    max_p95_seconds: Positive | None = Field(default=None, description="Slower answers than this roll back.")
    keep: Literal[0, 1] = Field(
        default=1, description="1 keeps the previous online deployment for a quick way back, 0 removes it."
    )

    @field_validator("steps")
    @classmethod
    def _steps_lead_to_all(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or steps[-1] != 100 or list(steps) != sorted(set(steps)):
            raise ValueError("steps must increase and end with 100, as in [10, 50, 100]")
        return steps


class EndpointSettings(Spec):
    """The endpoint that serves."""

    name: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z][-a-zA-Z0-9]{1,30}[a-zA-Z0-9]$",
        description="By default made of the prompt flow's name and the environment's.",
    )
    host: str = Field(default="127.0.0.1", description="`local`: the address to listen on.")
    port: Port = Field(default=0, description="`local`: the port to listen on; 0 takes a free one.")


class PrefectSettings(Spec):
    """The private Prefect server."""

    port: Port = Field(default=0, description="0 takes a free one.")


class SettingsFile(Spec):
    """config/<environment>.yaml on top of config/base.yaml"""

    default_prompt_flow: str = Field(default="all", description="What a run without a name means; `all`: each.")
    state_folder: str = Field(default=".sluice", min_length=1, description="Where everything made is kept.")
    runtimes_folder: str | None = Field(default=None, description="By default `runtimes` in the state folder.")
    keep_days: float = Field(default=30, ge=1, description="Unused candidates and runtimes are removed after that.")
    platform: Literal["local", "azure"] = Field(default="local", description="Where models and endpoints live.")
    azure: AzureSettings | None = Field(default=None, description="The workspace that `platform: azure` needs.")
    place: Literal["worker", "compute-instance"] = Field(
        default="worker",
        description="Where an evaluation runs: in the worker, or by prompt flow's service on a compute instance of its own.",
    )
    connections: dict[Name, Connection] = Field(default_factory=dict, description="By the prompt flows' names.")
    evaluation: EvaluationSettings = Field(default=EvaluationSettings(), description="How rows are evaluated.")
    gate: Floors = Field(default=Floors(), description="Floors of every gate in this environment.")
    rollout: Rollout = Field(default=Rollout(), description="How traffic moves.")
    endpoint: EndpointSettings = Field(default=EndpointSettings(), description="What serves.")
    evaluate_only: bool = Field(default=False, description="Stop after the decision: nothing is registered.")
    allow_dirty: bool = Field(default=True, description="Take prompt flows with changes that are not committed.")
    prefect: PrefectSettings = Field(default=PrefectSettings(), description="The private Prefect server.")


class Settings(SettingsFile):
    """The settings in force in one environment. `sources` says for each dotted key where its value comes from."""

    environment: str
    root: Path
    sources: Mapping[str, str]
    _layers: Layers = PrivateAttr(default=Layers(()))

    @property
    def state(self) -> Path:
        """The state folder, absolute."""
        return self.root / Path(self.state_folder).expanduser()

    @property
    def runtimes(self) -> Path:
        """The folder of the runtimes, absolute."""
        return self.root / Path(self.runtimes_folder).expanduser() if self.runtimes_folder else self.state / "runtimes"

    def prices(self, binding: Binding) -> Prices | None:
        """What a token costs at most under this binding; None if a provider's price isn't known, or none is used."""
        used = [self.connections[name] for name in binding.connections]
        models = [c for c in used if c.kind != "custom" and not (c.kind == "offline" and c.prices is None)]
        known = [c.prices for c in models if c.prices]
        if not known or len(known) < len(models):
            return None
        return Prices(
            prompt_per_million=max(p.prompt_per_million for p in known),
            completion_per_million=max(p.completion_per_million for p in known),
        )

    def at(self, *loc: str | int) -> Place:
        """Where a setting stands, for a message about it: `config/dev.yaml:12:connections.aoai.api_key`."""
        return self._layers.place(loc)

    @classmethod
    def of(cls, file: SettingsFile, *, environment: str, root: Path, layers: Layers) -> Settings:
        """Settings from a checked file; defaults are listed among the sources."""
        values = {name: getattr(file, name) for name in SettingsFile.model_fields}
        settings = cls.model_construct(
            **values, environment=environment, root=root, sources=layers.sources(file.model_dump())
        )
        settings._layers = layers  # noqa: SLF001 - its own
        return settings
